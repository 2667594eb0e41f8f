"""Write scenes and template libraries as files that the jwst pipeline reads."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.header import (
    ExposureHeader,
    int_times,
    set_image_meta,
    set_meta,
)
from soss_photcal_steps.simulate.library import TemplateLibrary
from soss_photcal_steps.simulate.scene import Exposure, Integration, Scene
from soss_photcal_steps.trace import DETECTOR_SIZE, subarray_rows

__all__ = ["ExposureHeader", "write_library", "write_rate", "write_rateints"]

_CUBES = {"SCI": "sci", "DQ": "dq", "ERR": "err", "VAR_POISSON": "var_poisson",
          "VAR_RNOISE": "var_rnoise"}  # fmt: skip
_BLOCK = 2880
_DEFAULT_HEADER = ExposureHeader()


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


def _as_exposure(scene: Scene | Exposure) -> Exposure:
    return scene.exposure if isinstance(scene, Scene) else scene


def write_rateints(
    scene: Scene | Exposure,
    path: str | Path,
    header: ExposureHeader = _DEFAULT_HEADER,
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
        set_meta(model.meta, exposure, header, first, last, segment)
        set_image_meta(model.meta, header)
        model.dq = np.zeros((1, ny, nx), dtype=np.uint32)
        for name in ("err", "var_poisson", "var_rnoise"):
            setattr(model, name, np.zeros((1, ny, nx), dtype=np.float32))
        model.int_times = int_times(exposure, header, first, last)
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
    scene: Scene | Exposure, path: str | Path, header: ExposureHeader = _DEFAULT_HEADER
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
    set_meta(model.meta, exposure, header, 0, nints, (1, 1))
    set_image_meta(model.meta, header)
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
