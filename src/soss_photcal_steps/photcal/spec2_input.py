"""Run ``soss_spec2`` on one observation."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from typing import Any

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.leftovers import scratch_prefix
from soss_photcal_steps.photcal.members import Observation

__all__ = ["product_root", "run_spec2", "spectra_name"]

_RATE = re.compile(r"_(rate|rateints)\.fits$", re.IGNORECASE)


def spectra_name(path: str, kind: str = "x1d") -> str:
    """Give the file name of the spectra of a file of rates.

    Parameters
    ----------
    path : str
        A rate or rateints file.
    kind : {"x1d", "cal"}, optional
        For the calibrated image instead, ``cal``.

    Returns
    -------
    str
        The name, without the folder.

    Raises
    ------
    SossInputError
        If the name does not end as that of rates.
    """
    name = os.path.basename(path)
    match = _RATE.search(name)
    if match is None:
        raise SossInputError(
            f"{name} must have a name that ends in _rate.fits or _rateints.fits, as its products "
            "are named after it."
        )
    ending = f"{kind}ints" if match[1].lower() == "rateints" else kind
    return f"{name[: match.start()]}_{ending}.fits"


def product_root(spectra: Sequence[str]) -> str:
    """Give what the ratio product of an observation is named after.

    Parameters
    ----------
    spectra : sequence of str
        Its files of spectra.

    Returns
    -------
    str
        The first file's name without ending, and without the segment if there are several.
    """
    root = re.sub(r"_x1d(ints)?$", "", os.path.basename(spectra[0]).rpartition(".")[0])
    return re.sub(r"-seg\d+", "", root) if len(spectra) > 1 else root


def run_spec2(pipeline: Any, one: Observation, folder: str, kind: str = "x1d") -> list[str]:
    """Calibrate the rates of one observation.

    Parameters
    ----------
    pipeline : SossSpec2Pipeline
        The pipeline.
    one : Observation
        The observation.
    folder : str
        Where its products go.
    kind : {"x1d", "cal"}, optional
        What must have been made; ``cal`` where calwebb_spec2 extracts no spectra.

    Returns
    -------
    list of str
        Files of spectra, or calibrated images, one for each segment.

    Raises
    ------
    SossInputError
        If a name does not fit, or no spectra were made.
    """
    wanted = [os.path.join(folder, spectra_name(path, kind)) for path in one.files]
    members = [{"expname": os.path.abspath(p), "exptype": "science"} for p in one.files]
    members += [{"expname": os.path.abspath(p), "exptype": "background"} for p in one.background]
    stem = _RATE.sub("", os.path.basename(one.files[0]))
    content = {
        "asn_type": "spec2",
        "asn_rule": "soss_photcal",
        "asn_id": "a3001",
        "asn_pool": "none",
        "program": one.name.partition("/")[0],
        "products": [{"name": stem, "members": members}],
    }
    pipeline.output_dir, pipeline.save_results = folder, True
    before = {path: _stamp(path) for path in wanted}
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(), dir=folder) as scratch:
        association = os.path.join(scratch, f"{stem}_spec2_asn.json")
        with open(association, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        pipeline.run(association)
    missing = [path for path in wanted if _stamp(path) in (None, before[path])]
    if missing:
        what = "spectra" if kind == "x1d" else "images"
        raise SossInputError(
            f"No {what} were made of {one.name}: {', '.join(map(os.path.basename, missing))}; "
            "its log says why."
        )
    return wanted


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
