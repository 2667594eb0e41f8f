"""What the headers of simulated exposures say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from astropy.time import Time

from soss_photcal_steps.simulate.params import SceneParams
from soss_photcal_steps.trace import DETECTOR_SIZE, subarray_rows

__all__ = ["ExposureHeader", "Timed", "int_times", "set_image_meta", "set_meta"]

_DAY = 86400.0
_EPOCH_MJD = 51544.5
_YEAR = 365.25


@dataclass(frozen=True)
class ExposureHeader:
    """What the header says beyond the scene itself.

    Attributes
    ----------
    target : str
        Name of the target.
    program, observation, visit : int
        Numbers of program, observation and visit.
    exposure : int
        Number of the exposure in the visit.
    ra, dec : float
        Position of the target, degrees.
    start_mjd : float
        Start of the exposure, MJD UTC.
    proposed_name : str or None
        Name that the proposer gave the target; that of the target if None.
    proper_motion : tuple of float
        In right ascension (times the cosine of the declination) and declination, arcsec
        per year, from the epoch 2000.0.
    title : str
        Title of the program.
    time_series : bool
        Whether the visit is a time series (TSOVISIT).
    background_target : bool
        Whether the exposure is a dedicated background (BKGDTARG).
    """

    target: str = "BD+60 1753"
    program: int = 1512
    observation: int = 1
    visit: int = 1
    exposure: int = 1
    ra: float = 261.2178
    dec: float = 60.4308
    start_mjd: float = 59788.25
    proposed_name: str | None = None
    proper_motion: tuple[float, float] = (0.0, 0.0)
    title: str = "Simulation by soss_photcal_steps"
    time_series: bool = True
    background_target: bool = False


class Timed(Protocol):
    """What of an exposure the header needs: its parameters and its groups."""

    @property
    def params(self) -> SceneParams:
        """Parameters of the scene."""

    @property
    def group_time(self) -> float:
        """Seconds per group."""

    @property
    def n_groups(self) -> int:
        """Groups per integration."""


def _position(header: ExposureHeader) -> tuple[float, float]:
    """Position at the start of the exposure, degrees."""
    years = (header.start_mjd - _EPOCH_MJD) / _YEAR
    ra, dec = (rate * years / 3600 for rate in header.proper_motion)
    return header.ra + ra / math.cos(math.radians(header.dec)), header.dec + dec


def set_meta(
    meta: Any,
    exposure: Timed,
    header: ExposureHeader,
    first: int,
    last: int,
    segment: tuple[int, int],
) -> None:
    """Fill the metadata that images and spectra have, in place.

    Parameters
    ----------
    meta : stdatamodels.ObjectNode
        The ``meta`` of a data model.
    exposure : Timed
        The scene.
    header : ExposureHeader
        Names, numbers and times.
    first, last : int
        First integration, from 0, and the one after the last.
    segment : tuple of int
        Number of the segment, from 1, and number of segments.
    """
    p = exposure.params
    span = subarray_rows(p.subarray)
    integration_time = exposure.group_time * exposure.n_groups
    cadence = integration_time + exposure.group_time
    start = Time(header.start_mjd, format="mjd", scale="utc")
    end = Time(header.start_mjd + cadence * p.nints / _DAY, format="mjd", scale="utc")
    ra, dec = _position(header)
    visit_id = f"{header.program:05d}{header.observation:03d}{header.visit:03d}"

    meta.telescope = "JWST"
    meta.instrument.name = "NIRISS"
    meta.instrument.detector = "NIS"
    meta.instrument.filter = p.filter
    meta.instrument.pupil = "GR700XD"
    meta.instrument.pupil_position = float(p.pwcpos)
    meta.program.title = header.title
    meta.program.category = "CAL"
    meta.target.proposer_name = header.proposed_name or header.target
    meta.target.catalog_name = header.target
    meta.target.ra, meta.target.dec = ra, dec
    meta.target.proposer_ra, meta.target.proposer_dec = header.ra, header.dec
    meta.target.proper_motion_ra, meta.target.proper_motion_dec = header.proper_motion
    meta.target.proper_motion_epoch = "2000.0"
    meta.target.type = "FIXED"
    meta.target.source_type_apt = "POINT"

    meta.observation.date = start.isot.split("T")[0]
    meta.observation.time = start.isot.split("T")[1]
    meta.observation.date_beg = start.isot
    meta.observation.date_end = end.isot
    meta.observation.program_number = f"{header.program:05d}"
    meta.observation.observation_number = f"{header.observation:03d}"
    meta.observation.visit_number = f"{header.visit:03d}"
    meta.observation.visit_id = visit_id
    meta.observation.visit_group = "03"
    meta.observation.sequence_id = "1"
    meta.observation.activity_id = "02"
    meta.observation.exposure_number = str(header.exposure)
    meta.observation.obs_id = f"V{visit_id}P0000000003102"
    meta.observation.template = "NIRISS Single-Object Slitless Spectroscopy"
    meta.observation.bkgdtarg = header.background_target
    meta.visit.tsovisit = header.time_series
    meta.visit.status = "SUCCESSFUL"
    meta.visit.start_time = start.iso
    meta.visit.total_exposures = 1
    meta.visit.type = "PRIME_TARGETED_FIXED"

    meta.exposure.type = "NIS_SOSS"
    meta.exposure.count = 1
    meta.exposure.prime_parallel = "PRIME"
    meta.exposure.readpatt = "NISRAPID"
    meta.exposure.nresets_at_start = 1
    meta.exposure.nresets_between_ints = 1
    meta.exposure.nints = p.nints
    meta.exposure.integration_start = first + 1
    meta.exposure.integration_end = last
    meta.exposure.segment_number, meta.exposure.segment_total = segment
    meta.exposure.ngroups = exposure.n_groups
    meta.exposure.nframes = 1
    meta.exposure.groupgap = 0
    meta.exposure.frame_time = exposure.group_time
    meta.exposure.group_time = exposure.group_time
    meta.exposure.integration_time = integration_time
    meta.exposure.exposure_time = integration_time * p.nints
    meta.exposure.measurement_time = integration_time * p.nints
    meta.exposure.duration = cadence * p.nints
    meta.exposure.start_time = header.start_mjd
    meta.exposure.mid_time = header.start_mjd + 0.5 * cadence * p.nints / _DAY
    meta.exposure.end_time = header.start_mjd + cadence * p.nints / _DAY
    meta.subarray.name = p.subarray
    meta.subarray.xstart = 1
    meta.subarray.ystart = span.start + 1
    meta.subarray.xsize = DETECTOR_SIZE
    meta.subarray.ysize = span.stop - span.start
    meta.subarray.fastaxis = -2
    meta.subarray.slowaxis = -1
    meta.aperture.name = f"NIS_{p.subarray}"
    meta.aperture.pps_name = f"NIS_{p.subarray}"
    for step in ("dq_init", "saturation", "superbias", "linearity", "jump", "ramp_fit"):
        setattr(meta.cal_step, step, "COMPLETE")


def set_image_meta(meta: Any, header: ExposureHeader) -> None:
    """Fill the metadata that only images have, in place.

    Parameters
    ----------
    meta : stdatamodels.ObjectNode
        The ``meta`` of a rate model.
    header : ExposureHeader
        Has the position.
    """
    meta.exposure.gain_factor = 1.0
    meta.target.source_type = "POINT"
    meta.wcsinfo.ra_ref, meta.wcsinfo.dec_ref = _position(header)
    meta.wcsinfo.roll_ref = 90.0
    meta.wcsinfo.v2_ref = -290.1
    meta.wcsinfo.v3_ref = -697.5
    meta.wcsinfo.v3yangle = 0.01
    meta.wcsinfo.vparity = -1
    meta.wcsinfo.wcsaxes = 3
    meta.bunit_data = "DN/s"
    meta.bunit_err = "DN/s"


# Columns of INT_TIMES, as in the data models' schema.
_INT_TIMES = np.dtype(
    [("integration_number", "<i4")]
    + [
        (f"int_{p}_{scale}", "<f8")
        for scale in ("MJD_UTC", "BJD_TDB")
        for p in ("start", "mid", "end")
    ]
)


def int_times(exposure: Timed, header: ExposureHeader, first: int, last: int) -> np.ndarray:
    """Give the table of integration times.

    Parameters
    ----------
    exposure : Timed
        The scene.
    header : ExposureHeader
        Has the start of the exposure.
    first, last : int
        First integration, from 0, and the one after the last.

    Returns
    -------
    ndarray, shape (last - first,)
        Structured, with the columns of INT_TIMES.
    """
    times = np.zeros(last - first, dtype=_INT_TIMES)
    number = np.arange(first, last)
    integration = exposure.group_time * exposure.n_groups / _DAY
    begin = header.start_mjd + number * (integration + exposure.group_time / _DAY)
    times["integration_number"] = number + 1
    for part, offset in (("start", 0.0), ("mid", 0.5 * integration), ("end", integration)):
        times[f"int_{part}_MJD_UTC"] = begin + offset
        # TDB runs 69.18 s ahead of UTC since 2017; the light travel time is left out.
        times[f"int_{part}_BJD_TDB"] = begin + offset + 69.184 / _DAY
    return times
