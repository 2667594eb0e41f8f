"""The console script ``soss-photcal``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from soss_photcal_steps.errors import SossInputError

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    from soss_photcal_steps import __version__
    from soss_photcal_steps.photom.command import add_check_command

    parser = argparse.ArgumentParser(
        prog="soss-photcal",
        description="Photometric calibration of NIRISS SOSS: tools beside the strun steps.",
    )
    parser.add_argument("--version", action="version", version=f"soss_photcal_steps {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="simulate exposures with a known background, subtract it, compare with the truth",
        description="Simulate exposures of a bright, a middling and a faint star with a known "
        "background, run soss_template_bkg on the files and compare with the truth. "
        "Needs neither a network nor CRDS.",
    )
    demo.add_argument(
        "directory", nargs="?", default="soss_photcal_demo",
        help="folder to be made for the files (default: %(default)s); it must not exist yet",
    )  # fmt: skip
    demo.add_argument(
        "--nints", type=int, default=10, metavar="N",
        help="integrations of each exposure (default: %(default)s)",
    )  # fmt: skip
    demo.add_argument(
        "--seed", type=int, default=1, help="seed of the simulation (default: %(default)s)"
    )
    add_check_command(commands)
    return parser


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
        from soss_photcal_steps.demo import run_demo

        return run_demo(options.directory, n_integrations=options.nints, seed=options.seed)
    except SossInputError as error:
        print(f"soss-photcal: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
