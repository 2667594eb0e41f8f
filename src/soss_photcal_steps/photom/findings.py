"""What a check says: findings, each with a severity, a code and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["CheckReport", "Finding", "Severity", "error", "note", "warning"]

Severity = Literal["error", "warning", "note"]
_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes
    ----------
    severity : {"error", "warning", "note"}
        An error forbids the delivery, a warning wants to be looked at, a note informs.
    code : str
        Name of the check.
    text : str
        One sentence.
    """

    severity: Severity
    code: str
    text: str


def error(code: str, text: str) -> Finding:
    """Make a finding that forbids the delivery.

    Parameters
    ----------
    code : str
        Name of the check.
    text : str
        One sentence.

    Returns
    -------
    Finding
        The finding.
    """
    return Finding("error", code, text)


def warning(code: str, text: str) -> Finding:
    """Make a finding that wants to be looked at.

    Parameters
    ----------
    code : str
        Name of the check.
    text : str
        One sentence.

    Returns
    -------
    Finding
        The finding.
    """
    return Finding("warning", code, text)


def note(code: str, text: str) -> Finding:
    """Make a finding that informs.

    Parameters
    ----------
    code : str
        Name of the check.
    text : str
        One sentence.

    Returns
    -------
    Finding
        The finding.
    """
    return Finding("note", code, text)


@dataclass(frozen=True)
class CheckReport:
    """All that was found in one photom file.

    Attributes
    ----------
    path : str
        The file.
    findings : tuple of Finding
        Errors first, then warnings, then notes.
    """

    path: str
    findings: tuple[Finding, ...]

    def __post_init__(self) -> None:
        """Put the findings in order."""
        ordered = sorted(self.findings, key=lambda finding: _ORDER.index(finding.severity))
        object.__setattr__(self, "findings", tuple(ordered))

    @property
    def deliverable(self) -> bool:
        """Whether there is no error."""
        return self.count("error") == 0

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return "may be delivered" if self.deliverable else "must not be delivered"

    def count(self, severity: Severity) -> int:
        """Count the findings of a severity.

        Parameters
        ----------
        severity : {"error", "warning", "note"}
            The severity.

        Returns
        -------
        int
            How many there are.
        """
        return sum(finding.severity == severity for finding in self.findings)

    def as_text(self) -> str:
        """Give verdict and list for a person.

        Returns
        -------
        str
            Several lines.
        """
        counts = ", ".join(
            f"{self.count(severity)} {severity}{'' if self.count(severity) == 1 else 's'}"
            for severity in _ORDER
        )
        lines = [f"{self.path} {self.verdict}: {counts}."]
        lines += [f"  {found.severity:7} {found.code}: {found.text}" for found in self.findings]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Give verdict and list for a program.

        Returns
        -------
        dict
            Plain values, which JSON can hold.
        """
        return {
            "path": self.path,
            "verdict": self.verdict,
            "deliverable": self.deliverable,
            "findings": [
                {"severity": found.severity, "code": found.code, "text": found.text}
                for found in self.findings
            ],
        }
