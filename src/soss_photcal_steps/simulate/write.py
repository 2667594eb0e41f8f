"""Write scenes and template libraries as files that the jwst pipeline reads."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.time import Time
from stdatamodels.jwst import datamodels

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.library import TemplateLibrary
from soss_photcal_steps.simulate.scene import Exposure, Integration, Scene
from soss_photcal_steps.trace import DETECTOR_SIZE, subarray_rows

__all__ = ["ExposureHeader", "write_library", "write_rate", "write_rateints"]

_CUBES = {"SCI": "sci", "DQ": "dq", "ERR": "err", "VAR_POISSON": "var_poisson",
          "VAR_RNOISE": "var_rnoise"}  # fmt: skip
_BLOCK = 2880
_DAY = 86400.0


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
    """

    target: str = "BD+60 1753"
    program: int = 1512
    observation: int = 1
    visit: int = 1
    exposure: int = 1
    ra: float = 261.2178
    dec: float = 60.4308
    start_mjd: float = 59788.25


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Give a path of the same name in a new folder beside `path`; move it there on success."""
    if not path.parent.is_dir():
        raise SossInputError(f"The folder {path.parent} for {path.name} does not exist.")
    folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
    try:
        yield folder / path.name
        os.replace(folder / path.name, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_meta(
    meta: Any,
    exposure: Exposure,
    header: ExposureHeader,
    first: int,
    last: int,
    segment: tuple[int, int],
) -> None:
    """Fill the metadata of a rate model, in place."""
    p = exposure.params
    span = subarray_rows(p.subarray)
    integration_time = exposure.group_time * exposure.n_groups
    cadence = integration_time + exposure.group_time
    start = Time(header.start_mjd, format="mjd", scale="utc")
    visit_id = f"{header.program:05d}{header.observation:03d}{header.visit:03d}"

    meta.telescope = "JWST"
    meta.instrument.name = "NIRISS"
    meta.instrument.detector = "NIS"
    meta.instrument.filter = p.filter
    meta.instrument.pupil = "GR700XD"
    meta.instrument.pupil_position = float(p.pwcpos)
    meta.target.proposer_name = header.target
    meta.target.catalog_name = header.target
    meta.target.ra = header.ra
    meta.target.dec = header.dec
    meta.target.type = "FIXED"
    meta.target.source_type_apt = "POINT"
    meta.target.source_type = "POINT"

    meta.observation.date = start.isot.split("T")[0]
    meta.observation.time = start.isot.split("T")[1]
    meta.observation.program_number = f"{header.program:05d}"
    meta.observation.observation_number = f"{header.observation:03d}"
    meta.observation.visit_number = f"{header.visit:03d}"
    meta.observation.visit_id = visit_id
    meta.observation.visit_group = "03"
    meta.observation.sequence_id = "1"
    meta.observation.activity_id = "02"
    meta.observation.exposure_number = str(header.exposure)
    meta.observation.obs_id = f"V{visit_id}P0000000003102"
    meta.visit.tsovisit = True
    meta.visit.type = "PRIME_TARGETED_FIXED"

    meta.exposure.type = "NIS_SOSS"
    meta.exposure.readpatt = "NISRAPID"
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
    meta.exposure.gain_factor = 1.0

    meta.subarray.name = p.subarray
    meta.subarray.xstart = 1
    meta.subarray.ystart = span.start + 1
    meta.subarray.xsize = DETECTOR_SIZE
    meta.subarray.ysize = span.stop - span.start
    meta.subarray.fastaxis = -2
    meta.subarray.slowaxis = -1
    meta.wcsinfo.ra_ref = header.ra
    meta.wcsinfo.dec_ref = header.dec
    meta.wcsinfo.roll_ref = 90.0
    meta.wcsinfo.v2_ref = -290.1
    meta.wcsinfo.v3_ref = -697.5
    meta.wcsinfo.v3yangle = 0.01
    meta.wcsinfo.vparity = -1
    meta.wcsinfo.wcsaxes = 3
    for step in ("dq_init", "saturation", "superbias", "linearity", "jump", "ramp_fit"):
        setattr(meta.cal_step, step, "COMPLETE")
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


def _int_times(exposure: Exposure, header: ExposureHeader, first: int, last: int) -> np.ndarray:
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


def _as_exposure(scene: Scene | Exposure) -> Exposure:
    return scene.exposure if isinstance(scene, Scene) else scene


def write_rateints(
    scene: Scene | Exposure,
    path: str | Path,
    header: ExposureHeader = ExposureHeader(),
    *,
    first: int = 0,
    last: int | None = None,
    segment: tuple[int, int] = (1, 1),
) -> Path:
    """Write an exposure, or a segment of it, as a ``rateints`` file.

    The integrations are made and written one by one, so that the memory needed does not
    grow with their number.  The arrays are bit for bit those of `simulate`.

    Parameters
    ----------
    scene : Scene or Exposure
        What to write.
    path : str or Path
        The file; an older one of this name is replaced when the new one is complete.
    header : ExposureHeader, optional
        Names, numbers and times.
    first, last : int, optional
        First integration of the segment, from 0, and the one after its last; by default all.
    segment : tuple of int, optional
        Number of the segment, from 1, and number of segments.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SossInputError
        If the folder does not exist or the range of integrations is empty.
    """
    exposure, path = _as_exposure(scene), Path(path)
    n_total, ny, nx = exposure.shape
    last = n_total if last is None else last
    if not 0 <= first < last <= n_total:
        raise SossInputError(
            f"Integrations {first} to {last} are not a range within the {n_total} of the exposure."
        )
    with _temporary(path) as temporary:
        # The pattern bears the final name, because the name is written into the file.
        pattern = temporary.parent / "pattern" / path.name
        pattern.parent.mkdir()
        model = datamodels.CubeModel((1, ny, nx))
        _set_meta(model.meta, exposure, header, first, last, segment)
        model.dq = np.zeros((1, ny, nx), dtype=np.uint32)
        for name in ("err", "var_poisson", "var_rnoise"):
            setattr(model, name, np.zeros((1, ny, nx), dtype=np.float32))
        model.int_times = _int_times(exposure, header, first, last)
        model.save(pattern)
        model.close()
        _stream(pattern, temporary, (exposure.integration(i) for i in range(first, last)),
                last - first)  # fmt: skip
    return path


def _stream(pattern: Path, path: Path, integrations: Iterator[Integration], nints: int) -> None:
    """Write a file like `pattern`, which holds one integration, with `nints` of them."""
    offsets: dict[str, int] = {}
    with open(path, "wb") as out, fits.open(pattern, memmap=False) as hdus:
        for hdu in hdus:
            if hdu.name in _CUBES:
                card = hdu.header.copy()
                card["NAXIS3"] = nints
                out.write(card.tostring().encode("ascii"))
                offsets[hdu.name] = out.tell()
                size = nints * card["NAXIS1"] * card["NAXIS2"] * 4
                out.seek(-(-size // _BLOCK) * _BLOCK, os.SEEK_CUR)
            elif hdu.name == "ASDF":
                out.write(_metadata_hdu(hdu, nints))
            else:
                # Primary header and table of times are as they will be.
                info = hdu.fileinfo()
                with open(pattern, "rb") as source:
                    source.seek(info["hdrLoc"])
                    out.write(source.read(info["datLoc"] + info["datSpan"] - info["hdrLoc"]))
        end = out.tell()
        for i, one in enumerate(integrations):
            for name, attribute in _CUBES.items():
                array = getattr(one, attribute)
                if name == "DQ":
                    # FITS has no unsigned integers: they are stored less 2^31.
                    array = (array ^ np.uint32(2**31)).view(np.int32)
                out.seek(offsets[name] + i * array.nbytes)
                out.write(array.astype(array.dtype.newbyteorder(">")).data)
        out.truncate(end)


def _metadata_hdu(hdu: fits.BinTableHDU, nints: int) -> bytes:
    """ASDF extension with the shapes of `nints` integrations."""
    text = hdu.data["ASDF_METADATA"][0].tobytes()
    text = re.sub(rb"shape: \[1, (\d+), (\d+)\]", rb"shape: [%d, \1, \2]" % nints, text)
    # The hash stands for the headers of the pattern; without it they are read from FITS.
    text = re.sub(rb"_fits_hash: [0-9a-f]+\n", b"", text)
    column = fits.Column(
        name="ASDF_METADATA",
        format=f"{len(text)}B",
        array=np.frombuffer(text, dtype=np.uint8)[None, :],
    )
    new = fits.BinTableHDU.from_columns([column], name="ASDF")
    data = new.data.tobytes()
    return new.header.tostring().encode("ascii") + data + b"\0" * (-len(data) % _BLOCK)


def write_rate(
    scene: Scene | Exposure, path: str | Path, header: ExposureHeader = ExposureHeader()
) -> Path:
    """Write the mean of an exposure's integrations as a ``rate`` file.

    Parameters
    ----------
    scene : Scene or Exposure
        What to write.
    path : str or Path
        The file; an older one of this name is replaced when the new one is complete.
    header : ExposureHeader, optional
        Names, numbers and times.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SossInputError
        If the folder does not exist.
    """
    exposure, path = _as_exposure(scene), Path(path)
    nints, ny, nx = exposure.shape
    sums = {name: np.zeros((ny, nx)) for name in ("sci", "var_poisson", "var_rnoise")}
    for one in exposure.integrations():
        for name, total in sums.items():
            total += getattr(one, name)
    model = datamodels.ImageModel((ny, nx))
    _set_meta(model.meta, exposure, header, 0, nints, (1, 1))
    model.data = (sums["sci"] / nints).astype(np.float32)
    model.var_poisson = (sums["var_poisson"] / nints**2).astype(np.float32)
    model.var_rnoise = (sums["var_rnoise"] / nints**2).astype(np.float32)
    model.err = np.sqrt(model.var_poisson + model.var_rnoise)
    model.dq = exposure.defects.dq.copy()
    with _temporary(path) as temporary:
        model.save(temporary)
    model.close()
    return path


def _add_history(model: Any, text: str) -> None:
    # stdatamodels before 6 has only the list.
    if hasattr(model, "add_history_entry"):
        model.add_history_entry(text)
    else:
        model.history.append(text)


def write_library(
    library: TemplateLibrary,
    path: str | Path,
    *,
    filter_name: str = "CLEAR",
    useafter: str = "2022-06-01T00:00:00",
) -> Path:
    """Write a template library as a SOSS background reference file (``SossBkgModel``).

    Parameters
    ----------
    library : TemplateLibrary
        Templates of 256, 96 or 2048 rows.
    path : str or Path
        The file; an older one of this name is replaced when the new one is complete.
    filter_name : str, optional
        Filter that the templates are for.
    useafter : str, optional
        Date from which the file is valid.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SossInputError
        If the folder does not exist, or the data do not have the rows of the subarray.
    """
    path = Path(path)
    span = subarray_rows(library.subarray)
    data = np.asarray(library.data, dtype=np.float32)
    wanted = (span.stop - span.start, DETECTOR_SIZE)
    if data.ndim != 3 or data.shape[1:] != wanted:
        raise SossInputError(
            f"Templates for {library.subarray} must have shape (n, {wanted[0]}, {wanted[1]}), "
            f"not {data.shape}."
        )
    model = datamodels.SossBkgModel(data=data)
    model.err = np.zeros_like(data)
    model.dq = np.zeros(data.shape, dtype=np.uint32)
    meta = model.meta
    meta.telescope = "JWST"
    meta.reftype = "bkg"
    meta.pedigree = "SIMULATION"
    meta.author = "soss_photcal_steps"
    meta.description = "Simulated SOSS background templates"
    meta.useafter = useafter
    meta.instrument.name = "NIRISS"
    meta.instrument.detector = "NIS"
    meta.instrument.filter = filter_name
    meta.instrument.pupil = "GR700XD"
    meta.exposure.type = "NIS_SOSS"
    meta.subarray.name = library.subarray
    meta.subarray.xstart = 1
    meta.subarray.ystart = span.start + 1
    meta.subarray.xsize = DETECTOR_SIZE
    meta.subarray.ysize = wanted[0]
    meta.subarray.fastaxis = -2
    meta.subarray.slowaxis = -1
    meta.bunit_data = "DN/s"
    for number, name in enumerate(library.names):
        _add_history(model, f"Template {number}: {name}")
    with _temporary(path) as temporary:
        model.save(temporary)
    model.close()
    return path
