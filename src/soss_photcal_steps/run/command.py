"""The sub-command ``soss-photcal run``.

Only the parser is made at import; what does the work is loaded when the command runs.
"""

from __future__ import annotations

import argparse
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
        "run",
        help="many observations on many processors, here or on a Dask cluster",
        description="Do what strun soss_photcal does, with the observations side by side; or "
        "subtract the background of any list of SOSS exposures and extract their spectra. What "
        "an earlier run made from the same inputs, parameters and versions is not made again. "
        "An observation that fails stops no other; a table at the end has them all.",
    )
    parser.add_argument(
        "input", nargs="+",
        help="an association (.json) as for strun soss_photcal; or exposures, and text files "
        "(.txt, .lst) with the path of one exposure a line",
    )  # fmt: skip
    parser.add_argument(
        "--output-dir", default=".", metavar="DIR",
        help="folder for the products, made if it does not exist (default: the current one)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=None, metavar="N",
        help="processes on this machine (default: one for each processor)",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="work on the Dask cluster of this scheduler instead, such as tcp://host:8786",
    )  # fmt: skip
    parser.add_argument(
        "--memory-per-worker", metavar="SIZE",
        help="what each worker may take, as 4G (default: an equal share of what is available); "
        "fewer workers are started if they do not fit",
    )  # fmt: skip
    parser.add_argument(
        "--until", choices=("spectra", "ratios", "photom"), default=None,
        help="how far to go (default: photom for an association, spectra for a list)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], dest="parameters", metavar="NAME=VALUE",
        help="a parameter as strun soss_photcal has it, such as "
        "steps.soss_ratio.calspec_dir=calspec; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--parameters", dest="config_file", metavar="FILE",
        help="a parameter file of soss_photcal, as strun --save-parameters writes it",
    )  # fmt: skip
    parser.add_argument(
        "--name", help="what the state and the logs of a list of exposures are named after"
    )
    parser.add_argument(
        "--force", action="store_true", help="make everything again, also what is unchanged"
    )


def run_command(options: argparse.Namespace) -> tuple[int, str]:
    """Run the sub-command, telling the standard error how far it is.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says.

    Returns
    -------
    status : int
        0 if all was done, 1 if something failed.
    text : str
        The table, and what was made.

    Raises
    ------
    SossInputError
        If the input or an option cannot be used.
    """
    if options.workers is not None and options.workers < 1:
        raise SossInputError(f"--workers is a number from 1, not {options.workers}.")
    if options.scheduler and (options.workers or options.memory_per_worker):
        raise SossInputError(
            "A Dask cluster has workers with a memory limit of its own; leave out --workers and "
            "--memory-per-worker, and say it to dask worker (--nworkers, --memory-limit)."
        )
    from soss_photcal_steps.run.campaign import run_campaign

    return run_campaign(
        options.input,
        output_dir=options.output_dir,
        workers=options.workers,
        scheduler=options.scheduler,
        memory_per_worker=options.memory_per_worker,
        until=options.until,
        parameters=options.parameters,
        config_file=options.config_file,
        name=options.name,
        force=options.force,
    )
