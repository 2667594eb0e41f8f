"""The console script ``soss-photcal``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from soss_photcal_steps.errors import SossInputError

__all__ = ["main"]

# Each has ``add_command(commands)``, which makes the parser, and ``run_command(options)``, which
# gives the exit status and what is to be printed.  Importing them must stay light.
_COMMANDS = {
    "demo": "photcal.demo_command",
    "check": "photom.command",
    "validate": "photom.validate_command",
    "contamination": "contamination.command",
    "asn": "asn.command",
    "simulate": "simulate_command",
    "run": "run.command",
    "explore": "explore.command",
}


def _parser() -> argparse.ArgumentParser:
    from soss_photcal_steps import __version__

    parser = argparse.ArgumentParser(
        prog="soss-photcal",
        description="Photometric calibration of NIRISS SOSS: tools beside the strun steps.",
    )
    parser.add_argument("--version", action="version", version=f"soss_photcal_steps {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for module in _COMMANDS.values():
        import_module(f"soss_photcal_steps.{module}").add_command(commands)
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
        Exit status: 0, or 1 where the input cannot be used or a check found an error, or 130
        where the user stopped it.
    """
    options = _parser().parse_args(arguments)
    module = import_module(f"soss_photcal_steps.{_COMMANDS[options.command]}")
    try:
        status, text = module.run_command(options)
    except SossInputError as error:
        print(f"soss-photcal: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"soss-photcal: {_say(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("soss-photcal: stopped", file=sys.stderr)
        return 130
    try:
        if text:
            print(text, flush=True)
    except BrokenPipeError:
        # Whoever reads it, as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(status)


def _say(error: OSError) -> str:
    """Put an error of the operating system, as a full disk, into one sentence."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


if __name__ == "__main__":
    sys.exit(main())
