"""The sub-command ``soss-photcal simulate``.

Only the parser is made at import; what does the work is loaded when the command runs.  So it stands
beside the package `simulate`, which loads its algorithms.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from soss_photcal_steps.errors import SossInputError

__all__ = ["add_command", "run_command"]


def _tell(text: str) -> None:
    # The standard output is for the shell.
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def add_command(commands: Any) -> None:
    """Add the sub-command to a parser.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        What ``add_subparsers`` gave.
    """
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


def run_command(options: argparse.Namespace) -> tuple[int, str]:
    """Run the sub-command, telling the standard error what is done.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says.

    Returns
    -------
    status : int
        0.
    text : str
        The environment for the CRDS cache, as lines that a shell runs.

    Raises
    ------
    SossInputError
        If the folder or an option cannot be used.
    """
    from soss_photcal_steps.simulate.calspec import with_calspec
    from soss_photcal_steps.simulate.campaign import make_campaign
    from soss_photcal_steps.simulate.standards import standard
    from soss_photcal_steps.simulate.writecampaign import (
        CAMPAIGN_FILE,
        expected_size,
        write_campaign,
    )

    if options.seed < 0:
        raise SossInputError(f"A seed is a number from 0, not {options.seed}.")
    stars = {}
    for item in options.calspec:
        name, _, file = item.partition("=")
        if not file:
            raise SossInputError(f"--calspec needs STAR=FILE, not {item!r}.")
        stars[name] = with_calspec(standard(name), file)
    campaign = make_campaign(options.kind, options.seed, max_nints=options.max_nints, stars=stars)
    _tell(
        f"Simulating the campaign '{campaign.name}', about {expected_size(campaign) / 1e6:.0f} MB, "
        f"in {options.directory}"
    )
    folder = Path(options.directory).absolute()
    paths = write_campaign(
        campaign, folder, photom=options.photom, force=options.force, progress=_tell
    )
    for path in paths:
        if path.parent == folder:
            _tell(f"wrote {path}")
    _tell(f"wrote models, references and CRDS cache below {folder}; {CAMPAIGN_FILE} lists all")
    first = next(path for path in paths if path.name.endswith(("_rateints.fits", "_rate.fits")))
    _tell(
        "Set the variables printed next, then for instance:\n"
        f"  strun soss_spec2 {shlex.quote(str(first))}"
    )
    environment = json.loads((folder / CAMPAIGN_FILE).read_text(encoding="utf-8"))["environment"]
    lines = (f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    return 0, "\n".join(lines)
