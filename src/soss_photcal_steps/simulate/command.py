"""The sub-command ``soss-photcal simulate``; its parser is in `soss_photcal_steps.cli`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.calspec import with_calspec
from soss_photcal_steps.simulate.campaign import make_campaign
from soss_photcal_steps.simulate.standards import standard
from soss_photcal_steps.simulate.writecampaign import (
    CAMPAIGN_FILE,
    expected_size,
    write_campaign,
)

__all__ = ["run_simulate"]


def _tell(text: str) -> None:
    # The standard output is for the shell.
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run_simulate(options: argparse.Namespace) -> str:
    """Run the sub-command, telling the standard error what is done.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says.

    Returns
    -------
    str
        The environment for the CRDS cache, as lines that a shell runs.

    Raises
    ------
    SossInputError
        If the folder or an option cannot be used.
    """
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
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
