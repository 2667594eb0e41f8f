"""Simulated spectra as ``x1d`` and ``x1dints`` files, in the layout of jwst 1.20 and later."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from stdatamodels.jwst import datamodels

from soss_photcal_steps._jwst import table_dtype
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path
from soss_photcal_steps.simulate.detector import GROUP_TIME
from soss_photcal_steps.simulate.header import int_times, set_meta
from soss_photcal_steps.simulate.observation import ObservationPlan, scene_params
from soss_photcal_steps.simulate.params import SceneParams
from soss_photcal_steps.simulate.spectra import OrderSpectra, SimulatedSpectra

__all__ = ["write_spectra"]

# Columns of the table that have one value per integration; all others have one per wavelength.
_SCALARS = (
    "INT_NUM", "N_ALONGDISP", "SEGMENT", "MJD-BEG", "MJD-AVG", "MJD-END", "TDB-BEG", "TDB-MID",
    "TDB-END",
)  # fmt: skip
_TIMES = {
    "MJD-BEG": "int_start_MJD_UTC",
    "MJD-AVG": "int_mid_MJD_UTC",
    "MJD-END": "int_end_MJD_UTC",
    "TDB-BEG": "int_start_BJD_TDB",
    "TDB-MID": "int_mid_BJD_TDB",
    "TDB-END": "int_end_BJD_TDB",
}


class _Timing:
    """What the header needs to know of an exposure that was never made."""

    def __init__(self, plan: ObservationPlan, n_groups: int) -> None:
        self.params: SceneParams = scene_params(plan)
        self.group_time: float = GROUP_TIME[plan.subarray]
        self.n_groups: int = n_groups


def _spectrum(
    spectra: OrderSpectra, unit: str, times: np.ndarray, first: int, last: int, segment: int
) -> datamodels.TSOSpecModel:
    """Make the table of one order of one segment."""
    names = table_dtype(datamodels.TSOSpecModel(), "spec_table")
    size = spectra.wavelength.size
    dtype = np.dtype(
        [
            (name, names[name]) if name in _SCALARS else (name, names[name], (size,))
            for name in names.names
        ]
    )
    table = np.zeros(last - first, dtype=dtype)
    table["INT_NUM"] = np.arange(first + 1, last + 1)
    table["N_ALONGDISP"] = size
    table["SEGMENT"] = segment
    for name, column in _TIMES.items():
        table[name] = times[column]
    table["WAVELENGTH"] = spectra.wavelength
    table["FLUX"] = spectra.flux[first:last]
    table["FLUX_ERROR"] = spectra.error[first:last]
    table["NPIXELS"] = spectra.npixels
    model = datamodels.TSOSpecModel()
    model.spec_table = table
    model.spec_table.columns["WAVELENGTH"].unit = "um"
    for name in ("FLUX", "FLUX_ERROR", "BACKGROUND", "BKGD_ERROR"):
        model.spec_table.columns[name].unit = unit
    for name in _TIMES:
        model.spec_table.columns[name].unit = "d"
    model.spectral_order = spectra.order
    model.source_type = "POINT"
    model.dispersion_direction = 1
    return model


def write_spectra(spectra: SimulatedSpectra, folder: str | os.PathLike[str]) -> list[Path]:
    """Write simulated spectra as the pipeline would, one file for each segment.

    Parameters
    ----------
    spectra : SimulatedSpectra
        What to write.  For a ``rate`` only one integration is possible.
    folder : path
        Where to write; files of the same names are replaced.

    Returns
    -------
    list of Path
        The files, ``..._x1dints.fits`` or, for a ``rate``, ``..._x1d.fits``.

    Raises
    ------
    SossInputError
        If the folder does not exist, or a ``rate`` has several integrations.
    """
    plan = spectra.plan
    if plan.product == "rate" and plan.nints != 1:
        raise SossInputError(
            f"{plan.root} is a rate, the mean of {plan.nints} integrations; simulate its spectra "
            "with one."
        )
    timing = _Timing(plan, spectra.n_groups)
    paths = []
    ranges = zip(plan.filenames, plan.segment_ranges, strict=True)
    for number, (name, (first, last)) in enumerate(ranges, start=1):
        x1d = name.replace("_rateints", "_x1dints").replace("_rate.", "_x1d.")
        path = Path(folder) / x1d
        times = int_times(timing, plan.header, first, last)
        model = datamodels.TSOMultiSpecModel()
        set_meta(model.meta, timing, plan.header, first, last, (number, plan.segments))
        model.meta.cal_step.extract_1d = "COMPLETE"
        model.meta.cal_step.photom = "COMPLETE" if spectra.unit == "MJy" else "SKIPPED"
        model.meta.soss_extract1d.width = 40.0
        model.int_times = times
        for order in spectra.orders.values():
            model.spec.append(_spectrum(order, spectra.unit, times, first, last, number))
        with model, atomic_path(path) as temporary:
            model.save(temporary)
        paths.append(path)
    return paths
