"""The sub-command ``soss-photcal demo``.

Only the parser is made at import; what does the work is loaded when the command runs.
"""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_command", "run_command"]


def add_command(commands: Any) -> None:
    """Add the sub-command to a parser.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        What ``add_subparsers`` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="simulate a small campaign, calibrate it, compare with the truth",
        description="Simulate observations of five standard stars with a known response and "
        "background, run the whole chain on them (soss_template_bkg, calwebb_spec2, soss_ratio, "
        "soss_photom_combine), write and check a photom file, and compare with the truth. Needs "
        "neither a network nor CRDS.",
    )
    parser.add_argument(
        "directory", nargs="?", default="soss_photcal_demo",
        help="folder to be made for the files (default: %(default)s); it must not exist yet",
    )  # fmt: skip
    parser.add_argument(
        "--background", action="store_true",
        help="only the background step, on a bright, a middling and a faint star",
    )  # fmt: skip
    parser.add_argument(
        "--nints", type=int, default=None, metavar="N",
        help="integrations of each exposure (default: 1; 10 with --background)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the simulation (default: %(default)s)"
    )


def run_command(options: argparse.Namespace) -> tuple[int, str]:
    """Run the sub-command, which prints as it goes.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says.

    Returns
    -------
    status : int
        0 if the result is as near to the truth as it must be, else 1.
    text : str
        Nothing; all is printed by then.

    Raises
    ------
    SossInputError
        If the folder or an option cannot be used.
    """
    if options.background:
        from soss_photcal_steps.background.demo import run_demo as run_background_demo

        count = 10 if options.nints is None else options.nints
        status = run_background_demo(options.directory, n_integrations=count, seed=options.seed)
    else:
        from soss_photcal_steps.photcal.demo import run_demo

        count = 1 if options.nints is None else options.nints
        status = run_demo(options.directory, seed=options.seed, max_nints=count)
    return status, ""
