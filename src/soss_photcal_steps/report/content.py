"""What a report holds: plain data, texts and figures.  Nothing here knows files or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from soss_photcal_steps.photom.findings import CheckReport, Severity

__all__ = ["Flag", "ObservationPart", "Part", "Picture", "Record", "ReportData", "Table", "slug"]

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


def slug(text: str) -> str:
    """Make a name for files and links.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Lower-case letters of ASCII, digits and hyphens; never empty.
    """
    return re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-") or "item"


@dataclass(frozen=True)
class Flag:
    """Something that is to be seen first.

    Attributes
    ----------
    severity : {"error", "warning", "note"}
        An error is in the way of a delivery, a warning wants to be looked at, a note informs.
    text : str
        One sentence.
    where : str
        Name of a section, such as ``combination``, or of an observation; may be empty.
    """

    severity: Severity
    text: str
    where: str = ""

    def __post_init__(self) -> None:
        """Refuse an unknown severity."""
        if self.severity not in _SEVERITIES:
            raise ValueError(f"a severity is one of {', '.join(_SEVERITIES)}: {self.severity!r}")


@dataclass(frozen=True)
class Picture:
    """A figure with what is said of it.

    Attributes
    ----------
    name : str
        Short name, from which file names and links are made.
    content : Figure or bytes
        The figure, or a PNG file.
    caption : str
        What it shows and what to look for.
    alt : str
        What it shows, for those who do not see it.
    """

    name: str
    content: Figure | bytes
    caption: str
    alt: str

    def __post_init__(self) -> None:
        """Refuse what would not be of use to everyone."""
        if not self.caption.strip() or not self.alt.strip():
            raise ValueError(f"the picture {self.name!r} needs a caption and an alternative text")


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading.

    Attributes
    ----------
    caption : str
        What it holds.
    columns : sequence of str
        Headings, with units.
    rows : sequence of sequence
        Cells: texts, numbers, or None where there is nothing.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def __post_init__(self) -> None:
        """Refuse rows of another length."""
        odd = [row for row in self.rows if len(row) != len(self.columns)]
        if odd:
            raise ValueError(f"{self.caption}: {len(self.columns)} columns, but a row {odd[0]!r}")


@dataclass(frozen=True)
class Part:
    """Texts, tables and pictures of one subject.

    Attributes
    ----------
    text : sequence of str
        Paragraphs.
    pictures : sequence of Picture
        Pictures.
    tables : sequence of Table
        Tables.
    details : sequence of (str, Part)
        Long parts that are folded up, with their titles.
    """

    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    details: Sequence[tuple[str, Part]] = ()

    def all_pictures(self) -> Iterator[Picture]:
        """Give all pictures, also those of folded parts.

        Yields
        ------
        Picture
            The pictures, from top to bottom.
        """
        yield from self.pictures
        for _, part in self.details:
            yield from part.all_pictures()


@dataclass(frozen=True)
class ObservationPart:
    """One observation.

    Attributes
    ----------
    name : str
        Program and observation, such as ``1091/2``.
    star : str
        Name of the star.
    state : str
        What became of it, such as ``used``, ``left out`` or ``failed``.
    reason : str
        Why, if it was not used.
    facts : mapping of str to object
        Columns of the table of observations, such as date, integrations and pupil wheel.
    background, spectra, fits : Part or None
        Background picture and numbers; spectra and what was masked; ratio and its fit.
    """

    name: str
    star: str
    state: str = "used"
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    background: Part | None = None
    spectra: Part | None = None
    fits: Part | None = None

    def all_pictures(self) -> Iterator[Picture]:
        """Give all pictures of the observation.

        Yields
        ------
        Picture
            The pictures, from top to bottom.
        """
        for part in (self.background, self.spectra, self.fits):
            if part is not None:
                yield from part.all_pictures()


@dataclass(frozen=True)
class Record:
    """What is needed to make the same again.

    Attributes
    ----------
    versions : mapping of str to str
        Versions of software, and the CRDS context.
    inputs : sequence of mapping
        Files, each with ``name``, ``size``, ``method`` and ``sha256`` as `Fingerprint` has them.
    parameters : mapping of str to mapping
        Parameters by step.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[Mapping[str, Any]] = ()
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportData:
    """All that a report shows.  What is None is left out and said to be missing.

    Attributes
    ----------
    title : str
        Title.
    flags : sequence of Flag
        What is to be seen first, in any order.
    facts : mapping of str to str
        What stands at the top, such as the names of the photom files.
    observations : sequence of ObservationPart
        What went in.
    coverage : Part or None
        Which wavelengths each observation contributes.
    combination, influence : Part or None
        The combined curves; what each star does to them.
    response : Part or None
        Old against new response.
    joins, budget : Part or None
        Steps where contributors change; the error budget.
    trend : Part or None
        Throughput in time.
    validation : Part or None
        The new file on an independent star.
    checks : CheckReport or None
        Findings of the checks of the new file.
    record : Record or None
        Versions, inputs, parameters.
    missing : mapping of str to str
        Why a section is missing, by its name.
    """

    title: str
    flags: Sequence[Flag] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    observations: Sequence[ObservationPart] = ()
    coverage: Part | None = None
    combination: Part | None = None
    influence: Part | None = None
    response: Part | None = None
    joins: Part | None = None
    budget: Part | None = None
    trend: Part | None = None
    validation: Part | None = None
    checks: CheckReport | None = None
    record: Record | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def parts(self) -> list[tuple[str, Part | None]]:
        """Give the parts that are about all observations together, in the order of the page.

        Returns
        -------
        list of (str, Part or None)
            Name and part.
        """
        names = (
            "combination", "influence", "response", "joins", "budget", "trend", "validation",
        )  # fmt: skip
        return [(name, getattr(self, name)) for name in names]

    def named_pictures(self) -> dict[str, Picture]:
        """Give all pictures by names that are different, and safe in file names and links.

        Returns
        -------
        dict of str to Picture
            In the order of the page.
        """
        found: dict[str, Picture] = {}
        parts: list[Part | ObservationPart | None] = [self.coverage, *self.observations]
        for part in [*parts, *(part for _, part in self.parts())]:
            for picture in part.all_pictures() if part is not None else ():
                name, number = slug(picture.name), 1
                while name in found:
                    number += 1
                    name = f"{slug(picture.name)}-{number}"
                found[name] = picture
        return found

    def sorted_flags(self) -> list[Flag]:
        """Give the flags and the errors and warnings of the checks, the gravest first.

        Returns
        -------
        list of Flag
            Each once.
        """
        checked = [
            Flag(found.severity, found.text, "checks")
            for found in (self.checks.findings if self.checks else ())
            if found.severity != "note"
        ]
        unique = dict.fromkeys([*self.flags, *checked])
        return sorted(unique, key=lambda flag: _SEVERITIES.index(flag.severity))
