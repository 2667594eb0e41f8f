"""Check whether a photom file may be delivered."""

from __future__ import annotations

import os
from collections.abc import Iterator

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.certify import certify as run_certify
from soss_photcal_steps.photom.check_change import check_change, check_jumps
from soss_photcal_steps.photom.check_header import check_header, check_time_tables
from soss_photcal_steps.photom.check_rows import check_rows
from soss_photcal_steps.photom.findings import CheckReport, Finding, error, note, warning
from soss_photcal_steps.photom.table import read_photom

__all__ = ["certify_findings", "check_photom"]


def check_photom(
    path: str | os.PathLike[str],
    old: str | os.PathLike[str] | None = None,
    *,
    certify: bool = True,
) -> CheckReport:
    """Check a photom file of SOSS by our own rules and by ``crds certify``.

    Parameters
    ----------
    path : path
        The file.
    old : path, optional
        The photom file that it is to replace.
    certify : bool, optional
        Also run ``crds certify``, which takes some seconds and needs no network.  Without it
        the verdict is on our own rules only.

    Returns
    -------
    CheckReport
        Verdict and findings.

    Raises
    ------
    SossInputError
        If one of the files cannot be read as a photom file of SOSS.
    """
    photom = read_photom(path)
    before = read_photom(old) if old is not None else None
    findings = [
        *(warning("fits", text) for text in photom.problems),
        *check_header(photom),
        *check_rows(photom.rows),
        *check_time_tables(photom.rows, photom.time_tables, str(photom.header.get("USEAFTER", ""))),
        *check_jumps(photom.rows, before.rows if before else None),
    ]
    if before is not None:
        findings += check_change(photom.rows, before.rows)
    else:
        findings.append(note("no-old", "Not compared with the file that it is to replace."))
    if certify:
        findings += certify_findings(path)
    return CheckReport(str(path), tuple(findings))


def certify_findings(path: str | os.PathLike[str], kind: str = "photom") -> Iterator[Finding]:
    """Give what ``crds certify`` says as findings.

    Parameters
    ----------
    path : path
        The file.
    kind : {"photom", "bkg"}, optional
        Type of the reference.

    Yields
    ------
    Finding
        Errors, warnings, or that there is no error.
    """
    try:
        result = run_certify(path, kind)
    except SossInputError as problem:
        yield error("certify", str(problem))
        return
    for text in result.errors:
        yield error("certify", f"crds certify: {text}")
    for text in result.warnings:
        yield warning("certify", f"crds certify: {text}")
    if not result.errors:
        yield note("certify", f"crds certify {result.version} has no error.")
