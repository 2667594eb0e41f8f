"""The console script ``soss-photcal``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from soss_photcal_steps.errors import SossInputError

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    from soss_photcal_steps import __version__
    from soss_photcal_steps.contamination.command import add_contamination_command
    from soss_photcal_steps.photom.command import add_check_command
    from soss_photcal_steps.photom.validate_command import add_validate_command

    parser = argparse.ArgumentParser(
        prog="soss-photcal",
        description="Photometric calibration of NIRISS SOSS: tools beside the strun steps.",
    )
    parser.add_argument("--version", action="version", version=f"soss_photcal_steps {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="simulate a small campaign, calibrate it, compare with the truth",
        description="Simulate observations of five standard stars with a known response and "
        "background, run the whole chain on them (soss_template_bkg, calwebb_spec2, soss_ratio, "
        "soss_photom_combine), write and check a photom file, and compare with the truth. Needs "
        "neither a network nor CRDS.",
    )
    demo.add_argument(
        "directory", nargs="?", default="soss_photcal_demo",
        help="folder to be made for the files (default: %(default)s); it must not exist yet",
    )  # fmt: skip
    demo.add_argument(
        "--background", action="store_true",
        help="only the background step, on a bright, a middling and a faint star",
    )  # fmt: skip
    demo.add_argument(
        "--nints", type=int, default=None, metavar="N",
        help="integrations of each exposure (default: 1; 10 with --background)",
    )  # fmt: skip
    demo.add_argument(
        "--seed", type=int, default=1, help="seed of the simulation (default: %(default)s)"
    )
    add_check_command(commands)
    add_validate_command(commands)
    add_contamination_command(commands)
    _add_simulate(commands)
    return parser


def _add_simulate(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "simulate",
        help="simulate observations of standard stars, with references and a CRDS cache",
        description="Simulate observations of photometric standards with known spectra, "
        "backgrounds and contamination, and write them as rate and rateints files with their "
        "truth, together with all references that calwebb_spec2 needs and a small CRDS cache "
        "that serves them without a network. The standard output is the environment for that "
        'cache, so that eval "$(soss-photcal simulate DIR --small)" sets it; all else goes to '
        "the standard error.",
    )
    parser.add_argument("directory", help="folder to be made; it must be empty or not exist")
    # Two options set it, and argparse takes the default of the first.
    parser.set_defaults(kind="standards")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--small", dest="kind", action="store_const", const="small",
        help="four short observations of three stars: the same as --kind small",
    )  # fmt: skip
    kind.add_argument(
        "--kind", choices=("small", "standards", "report"),
        help="small; standards: one observation for each of the eight curves of the report "
        "JWST-STScI-009248; report: all 33 observations of its Table 3 (default: standards)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the simulation (default: %(default)s)"
    )
    parser.add_argument(
        "--max-nints", type=int, default=2, metavar="N",
        help="at most so many integrations of each observation (default: %(default)s); one takes "
        "10.5 MB on disk",
    )  # fmt: skip
    parser.add_argument(
        "--photom", choices=("filed", "true"), default="filed",
        help="photom file with the known error that a calibration is to find, or without "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--calspec", action="append", default=[], metavar="STAR=FILE",
        help="take the spectrum of a standard from a CALSPEC file, as in p330e=p330e_mod_008.fits; "
        "may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--force", action="store_true",
        help="replace an earlier simulation in DIRECTORY; other files are never touched",
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; that of the process by default.

    Returns
    -------
    int
        Exit status: 0, or 1 where the input cannot be used or a check found an error.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.command == "check":
            from soss_photcal_steps.photom.command import run_check

            status, text = run_check(options)
            print(text)
            return status
        if options.command == "validate":
            from soss_photcal_steps.photom.validate_command import run_validate

            print(run_validate(options))
            return 0
        if options.command == "contamination":
            from soss_photcal_steps.contamination.command import run_contamination

            print(run_contamination(options))
            return 0
        if options.command == "simulate":
            from soss_photcal_steps.simulate.command import run_simulate

            print(run_simulate(options))
            return 0
        if options.background:
            from soss_photcal_steps.background.demo import run_demo as run_background_demo

            count = 10 if options.nints is None else options.nints
            return run_background_demo(options.directory, n_integrations=count, seed=options.seed)
        from soss_photcal_steps.photcal.demo import run_demo

        count = 1 if options.nints is None else options.nints
        return run_demo(options.directory, seed=options.seed, max_nints=count)
    except SossInputError as error:
        print(f"soss-photcal: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
