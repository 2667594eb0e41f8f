"""The sub-command ``soss-photcal check``.

Only the parser is made at import; what reads files is loaded when the command runs.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from soss_photcal_steps.errors import SossInputError

__all__ = ["add_command", "run_command"]


def add_command(commands: Any) -> None:
    """Add the sub-command to a parser.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        What ``add_subparsers`` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="check a photom file, or a library of background templates, before it is delivered",
        description="Check a photom reference file of NIRISS SOSS: names, arrays, units, errors, "
        "time tables, header, the change against the file before, and crds certify, which needs "
        "no network here; or a bkg file with templates. The exit status is 0 only if the file "
        "may be delivered.",
    )
    parser.add_argument("file", help="the photom or bkg file (FITS)")
    parser.add_argument("--old", metavar="FILE", help="the photom file that it is to replace")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run_command(options: argparse.Namespace) -> tuple[int, str]:
    """Run the sub-command.

    Parameters
    ----------
    options : argparse.Namespace
        ``file``, ``old`` and ``json`` of the command line.

    Returns
    -------
    status : int
        0 if the file may be delivered, else 1.
    text : str
        What is to be printed.

    Raises
    ------
    SossInputError
        If a file cannot be read as a photom file or a library of SOSS.
    """
    from soss_photcal_steps.template.check import check_library, is_library

    if is_library(options.file):
        if options.old:
            raise SossInputError("--old is for photom files; a library of templates needs none.")
        report = check_library(options.file)
    else:
        from soss_photcal_steps.photom.check import check_photom

        report = check_photom(options.file, options.old)
    text = json.dumps(report.as_dict(), indent=1) if options.json else report.as_text()
    return (0 if report.deliverable else 1), text
