"""Reference files for the simulated instrument, as the steps of the pipeline read them.

The pack agrees with the simulator: traces and wavelengths are those of
`soss_photcal_steps.trace`, profiles those of `soss_photcal_steps.simulate.star` with the
nominal wings, throughputs and photometric conversion those of
`soss_photcal_steps.simulate.instrument`.  What differs from a real pack:

* The flat field is 1 everywhere, because simulated frames have no structure of a flat.
* The wavelength does not depend on the row, as in the pipeline's own extraction.
* The simulator spreads no light along the dispersion, whereas the kernels of ``speckernel``
  have the width of the diffraction, 0.2 to 0.6 pixels, as real ones do.  Spectral lines as the
  simulator makes them, with a sigma of 0.0022 um, change by less than 2 per cent of their depth.
* ``specprofile`` is for one angle of the pupil wheel; jwst does not turn it.

With these references ATOCA runs at the defaults of jwst, with its own choice of the Tikhonov
factors.  Only ``soss_rtol`` should be 1e-3 instead of 1e-4: the first estimate of the spectrum
has noise of some 1e-3 per pixel, and at 1e-4 the wavelength grid is refined until it follows
that noise, twice the points for five times the time.  ``soss_n_os`` is to stay at 2: at 1 the
edges of the grid fall on those of the pixels, and the model of order 2 fails in the column where
the joint fit of orders 1 and 2 ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asdf
import jwst
import numpy as np
from astropy.modeling.models import Tabular2D
from numpy.polynomial import Chebyshev, Polynomial
from stdatamodels.jwst import datamodels

from soss_photcal_steps import __version__, trace
from soss_photcal_steps._jwst import add_history_entry
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path
from soss_photcal_steps.photom.table import PhotomRow, rows_to_array
from soss_photcal_steps.simulate import instrument
from soss_photcal_steps.simulate.kernels import (
    KERNEL_HALF_WIDTH,
    KERNEL_OVERSAMPLING,
    aperture_share,
    line_spread_kernels,
    trace_profile,
)
from soss_photcal_steps.simulate.library import TemplateLibrary, make_library
from soss_photcal_steps.simulate.write import write_library
from soss_photcal_steps.trace import (
    DETECTOR_SIZE,
    ORDERS,
    PWCPOS_COMMANDED,
    SUBSTRIP256_FIRST_ROW,
    subarray_rows,
    trace_positions,
    wavelengths,
)

__all__ = ["PHOTOM_KINDS", "REFERENCE_TYPES", "ReferencePack", "write_references"]

#: Types of references that calwebb_spec2 needs for SOSS.
REFERENCE_TYPES = (
    "specwcs", "bkg", "flat", "pastasoss", "specprofile", "speckernel", "photom",
)  # fmt: skip
#: Whether ``photom`` has the error that a calibration is to find.
PHOTOM_KINDS = ("filed", "true")

_USEAFTER = "2022-01-01T00:00:00"
# A serial number that no real reference bears.
_SERIAL = "9001"
_EXTENSIONS = {"specwcs": "asdf", "pastasoss": "asdf"}
_TITLES = {
    "specwcs": "wavelengths on the full frame",
    "bkg": "background templates",
    "flat": "flat field, 1 everywhere",
    "pastasoss": "traces, wavelengths and throughputs",
    "specprofile": "profiles across the traces",
    "speckernel": "monochromatic kernels along the dispersion",
    "photom": "flux calibration, MJy/(DN/s)",
}
# Last column of each order that is extracted, plus one: order 2 then leaves the subarray, and
# order 3 has no wavelengths beyond.
_CUTOFF = {1: 2048, 2: 1783, 3: 800}
_SHORT_CUTOFF = {1: 0.77, 2: 0.58, 3: 0.58}
# ATOCA makes its first estimate of the spectrum from pixels of order 1 where the profile of
# order 2 is below 1e-4.  The wings are above that to 100 pixels from the trace, which would
# leave no pixel longward of 1.4 um; so they are kept below it outside of the aperture.
_WING_LIMIT = 0.99e-4
_WING_START = 25.0
# Numbers of wavelengths in the real photom file of 2023-03-22, and length of its arrays.
_PHOTOM_SIZES = {("CLEAR", 1): 2425, ("CLEAR", 2): 2276, ("CLEAR", 3): 1731, ("F277W", 1): 979}
_PHOTOM_WIDTH = 5000
_F277W_START = 2.3
_LARGEST_RELRESPONSE = 1e6
_PIXEL_AREA = (1.00918458786252e-13, 0.004293593015086312)  # steradians, arcsec^2


@dataclass(frozen=True)
class ReferencePack(Mapping[str, Path]):
    """The reference files of one subarray: a mapping of type to file.

    Attributes
    ----------
    folder : Path
        Where they are.
    subarray : str
        Subarray that they are for.
    pwcpos : float
        Angle of the pupil wheel that the profiles are for, degrees.
    photom : {"filed", "true"}
        Whether the photom file has the error that a calibration is to find.
    files : dict of str to Path
        Type to file.
    """

    folder: Path
    subarray: str
    pwcpos: float
    photom: str
    files: Mapping[str, Path]

    def __getitem__(self, kind: str) -> Path:
        """Give the file of a type."""
        return self.files[kind]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the types."""
        return iter(self.files)

    def __len__(self) -> int:
        """Give the number of types."""
        return len(self.files)


def write_references(
    folder: str | Path,
    *,
    pwcpos: float = PWCPOS_COMMANDED,
    subarray: str = "SUBSTRIP256",
    photom: str = "filed",
    library: TemplateLibrary | None = None,
    seed: int = 0,
    useafter: str = _USEAFTER,
    order2_offsets: str | None = None,
) -> ReferencePack:
    """Write all references that calwebb_spec2 needs for the simulated instrument.

    Parameters
    ----------
    folder : str or Path
        Where to write; made if it does not exist.  Files of the same names are replaced.
    pwcpos : float, optional
        Angle of the pupil wheel, degrees, for ``specprofile`` and ``specwcs``.  ``pastasoss``
        holds for all angles.
    subarray : str, optional
        ``SUBSTRIP256``, ``SUBSTRIP96`` or ``FULL``.  It decides the rows of ``specprofile``,
        ``flat`` and ``bkg``; the background of SUBSTRIP96 has 256 rows, of which jwst cuts its
        part.
    photom : {"filed", "true"}, optional
        The conversion with a known smooth error, which a calibration is to find
        (`instrument.filed_error`), or the true one.  The throughputs in ``pastasoss`` are
        true in both.
    library : TemplateLibrary, optional
        Background templates; six are made if not given.
    seed : int, optional
        Seed of these templates.
    useafter : str, optional
        Date from which the files are valid.
    order2_offsets : {"relative", "absolute"}, optional
        Whether the wavelength model of order 2 takes the angle as an offset from the
        commanded one, as jwst 3 does, or as it is, as jwst up to 1.20 did.  By default as
        the installed jwst wants it.

    Returns
    -------
    ReferencePack
        Type to file.

    Raises
    ------
    SossInputError
        If an argument is out of its range.
    """
    if photom not in PHOTOM_KINDS:
        raise SossInputError(f"The photom file is 'filed' or 'true', not {photom!r}.")
    if order2_offsets is None:
        old = tuple(int(n) for n in jwst.__version__.split(".")[:2]) <= (1, 20)
        order2_offsets = "absolute" if old else "relative"
    if order2_offsets not in ("relative", "absolute"):
        raise SossInputError(
            f"The offsets of order 2 are 'relative' or 'absolute', not {order2_offsets!r}."
        )
    subarray_rows(subarray)
    subarray = subarray.upper()
    library_subarray = "FULL" if subarray == "FULL" else "SUBSTRIP256"
    if library is None:
        library = make_library(6, seed, subarray=library_subarray)
    elif library.subarray != library_subarray:
        library = TemplateLibrary(
            library.cut(library_subarray), library.names, library_subarray, library.break_shape
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        kind: folder / f"jwst_niriss_{kind}_{_SERIAL}.{_EXTENSIONS.get(kind, 'fits')}"
        for kind in REFERENCE_TYPES
    }
    _write_specwcs(files["specwcs"], pwcpos, useafter)
    write_library(library, files["bkg"], useafter=useafter)
    models = {
        "flat": _flat(subarray),
        "pastasoss": _pastasoss(pwcpos, order2_offsets == "absolute"),
        "specprofile": _specprofile(pwcpos, subarray),
        "speckernel": _speckernel(),
        "photom": _photom(pwcpos, photom),
    }
    for kind, model in models.items():
        _set_meta(model, kind, useafter)
        with model, atomic_path(files[kind]) as temporary:
            model.save(temporary)
    return ReferencePack(folder, subarray, pwcpos, photom, files)


def _history(kind: str) -> str:
    return f"Simulated {kind} reference by soss_photcal_steps {__version__}."


def _set_meta(model: Any, kind: str, useafter: str) -> None:
    """Fill what every reference has to say, in place."""
    meta = model.meta
    meta.telescope = "JWST"
    meta.reftype = kind
    meta.pedigree = "SIMULATION"
    meta.author = "soss_photcal_steps"
    meta.description = f"Simulated NIRISS SOSS: {_TITLES[kind]}"
    meta.useafter = useafter
    meta.instrument.name = "NIRISS"
    meta.instrument.detector = "NIS"
    meta.exposure.type = "NIS_SOSS"
    add_history_entry(model, _history(kind))


def _set_subarray(model: Any, subarray: str) -> None:
    span = subarray_rows(subarray)
    model.meta.subarray.name = subarray
    model.meta.subarray.xstart = 1
    model.meta.subarray.ystart = span.start + 1
    model.meta.subarray.xsize = DETECTOR_SIZE
    model.meta.subarray.ysize = span.stop - span.start
    model.meta.subarray.fastaxis = -2
    model.meta.subarray.slowaxis = -1


def _write_specwcs(path: Path, pwcpos: float, useafter: str) -> None:
    """Write the wavelength as a function of row and column of the full frame, per order."""
    columns = np.arange(DETECTOR_SIZE, dtype=float)
    # As the wavelength does not depend on the row, two rows hold all there is.
    rows = np.array([0.0, DETECTOR_SIZE - 1.0])
    tree: dict[Any, Any] = {
        order: Tabular2D(
            points=(rows, columns),
            lookup_table=np.tile(wavelengths(order, columns, pwcpos), (2, 1)),
            bounds_error=False,
            fill_value=np.nan,
            name=f"order{order}",
        )
        for order in ORDERS
    }
    tree["meta"] = {
        "telescope": "JWST",
        "reftype": "specwcs",
        "pedigree": "SIMULATION",
        "author": "soss_photcal_steps",
        "description": f"Simulated NIRISS SOSS: {_TITLES['specwcs']}",
        "useafter": useafter,
        "instrument": {"name": "NIRISS", "detector": "NIS"},
        "exposure": {"type": "NIS_SOSS"},
        "filename": path.name,
        "model_type": "SpecwcsModel",
    }
    with asdf.AsdfFile(tree) as file, atomic_path(path) as temporary:
        file.add_history_entry(_history("specwcs"))
        file.write_to(temporary, all_array_compression="zlib")


def _flat(subarray: str) -> Any:
    span = subarray_rows(subarray)
    shape = (span.stop - span.start, DETECTOR_SIZE)
    model = datamodels.FlatModel(data=np.ones(shape, dtype=np.float32))
    model.dq = np.zeros(shape, dtype=np.uint32)
    model.err = np.zeros(shape, dtype=np.float32)
    model.meta.instrument.filter = "CLEAR"
    model.meta.instrument.pupil = "GR700XD"
    _set_subarray(model, subarray)
    return model


def _throughput(order: int, pwcpos: float) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths, rising, and throughput of an order, relative to the best of order 1.

    ATOCA models the light of a column as F_lambda * throughput * lambda * d(lambda), which
    is to be the flux F_nu over the conversion, and F_nu goes as F_lambda * lambda^2.
    """
    # jwst sets the two ends to zero, so they have to lie outside of the detector.
    columns = np.arange(DETECTOR_SIZE + 19.0, -21.0, -1.0)
    wave = wavelengths(order, columns, pwcpos)
    return wave, wave / (instrument.response(order, wave) * np.abs(np.gradient(wave)))


def _wavelength_polynomial(order: int, absolute: bool) -> tuple[list[float], list[list[float]]]:
    """Coefficients by rising total degree, and the extents that scale column and angle."""
    if order == 3:
        # PASTASOSS has no order 3; its series in one variable gets idle terms in the angle.
        series = Chebyshev(trace._ORDER3_WAVELENGTH, domain=(0.0, 1.0))
        constant, linear, square = (float(c) for c in series.convert(kind=Polynomial).coef)
        terms = [constant, linear, 0.0, square, 0.0, 0.0]
        columns, offsets = trace._ORDER3_COLUMNS, (-1.0, 1.0)
    else:
        model = trace._WAVELENGTHS[order]
        terms = list(model.coefficients)
        columns, offsets = model.column_extent, model.offset_extent
    shift = PWCPOS_COMMANDED if absolute and order == 2 else 0.0
    return terms, [[columns[k], offsets[k] + shift] for k in (0, 1)]


def _pastasoss(pwcpos: float, absolute: bool) -> Any:
    model = datamodels.PastasossModel()
    meta = model.meta
    meta.instrument.filter = "CLEAR"
    meta.pwcpos_cmd = PWCPOS_COMMANDED
    meta.pwcpos_bounds = [PWCPOS_COMMANDED - 0.25, PWCPOS_COMMANDED + 0.25]
    meta.soss_xdim = DETECTOR_SIZE
    meta.soss_ydim = 300
    meta.subarray_ymin = SUBSTRIP256_FIRST_ROW
    meta.wavemap_nwl = 5001
    meta.wavemap_wlmin = 0.5
    meta.wavemap_wlmax = 5.5
    meta.order2_separation_cutoff = [0.77, 0.95]
    throughputs = {order: _throughput(order, pwcpos) for order in ORDERS}
    best = throughputs[1][1].max()
    # Some columns beyond the detector, so that a turned trace still reaches its edges.
    x = np.arange(-20.0, DETECTOR_SIZE + 20.0)
    for order in ORDERS:
        pivot = trace._TRACES[order].pivot
        y = trace_positions(order, PWCPOS_COMMANDED, x)
        model.traces.append(
            {
                "spectral_order": order,
                "pivot_x": pivot[0],
                "pivot_y": pivot[1],
                "trace": np.column_stack([x, y]),
                "oversampling": 1,
                "cutoff": _CUTOFF[order],
                "short_cutoff": _SHORT_CUTOFF[order],
            }
        )
        terms, extents = _wavelength_polynomial(order, absolute)
        model.wavecal_models.append(
            {
                "spectral_order": order,
                "polynomial_degree": round(np.sqrt(2 * len(terms))) - 1,
                "coefficients": np.array(terms),
                "coefficient_labels": "c00, c10, c01, c20, c11, c02, ... (column, angle)",
                "scale_extents": np.array(extents),
            }
        )
        wave, throughput = throughputs[order]
        model.throughputs.append(
            {"spectral_order": order, "wavelength": wave, "throughput": throughput / best}
        )
    return model


def _specprofile(pwcpos: float, subarray: str) -> Any:
    """Make the profiles, normalized to the light within the pipeline's box."""
    span = subarray_rows(subarray)
    rows = np.arange(span.start, span.stop)[:, None] - SUBSTRIP256_FIRST_ROW
    model = datamodels.SpecProfileModel()
    model.meta.instrument.filter = "CLEAR"
    _set_subarray(model, subarray)
    for order in ORDERS:
        image = trace_profile(order, pwcpos, subarray)
        image /= aperture_share(order, instrument.APERTURE_WIDTH, pwcpos)
        if order == 2:
            far = np.abs(rows - trace_positions(order, pwcpos)) > _WING_START
            image[far] = np.minimum(image[far], _WING_LIMIT)
        model.profile.append(
            {"order": order, "oversampling": 1, "padding": 0, "data": image.astype(np.float32)}
        )
    return model


def _speckernel() -> Any:
    # Closer than 0.02 um the kernels would not differ; much closer, ATOCA cannot tell them apart.
    wave = np.linspace(0.5, 3.1, 131)
    kernels = line_spread_kernels(wave)
    model = datamodels.SpecKernelModel()
    model.wavelengths = np.tile(wave, (kernels.shape[0], 1)).astype(np.float32)
    model.kernels = kernels.astype(np.float32)
    model.meta.nwave = wave.size
    model.meta.wavemin, model.meta.wavemax = float(wave[0]), float(wave[-1])
    model.meta.spectral_oversampling = KERNEL_OVERSAMPLING
    model.meta.halfwidth = KERNEL_HALF_WIDTH
    model.meta.centroid_index = kernels.shape[0] // 2
    return model


def _f277w_transmission(wave: np.ndarray, pwcpos: float) -> np.ndarray:
    """Transmission of the filter as the simulator applies it, at wavelengths of order 1."""
    columns = np.arange(-20.0, DETECTOR_SIZE + 20.0)
    known = wavelengths(1, columns, pwcpos)
    column = np.interp(wave, known[::-1], columns[::-1])
    return 0.9 / (1 + np.exp(np.minimum((column - 445.0) / 6.0, 50.0)))


def _photom_row(filter_name: str, order: int, pwcpos: float, kind: str) -> PhotomRow:
    low, high = instrument.wavelength_range(order)
    if filter_name == "F277W":
        low = max(low, _F277W_START)
    n = _PHOTOM_SIZES[filter_name, order]
    wave = np.linspace(low, high, n)
    value = instrument.response(order, wave)
    if filter_name == "F277W":
        value = value / _f277w_transmission(wave, pwcpos)
    if kind == "filed":
        value = value * instrument.filed_error(order, wave)
    arrays = np.zeros((2, _PHOTOM_WIDTH), dtype=np.float32)
    arrays[0, :n] = wave
    # As in the real file, the response stays finite where there is no light.
    arrays[1, :n] = np.minimum(value / instrument.PHOTMJ, _LARGEST_RELRESPONSE)
    return PhotomRow(
        filter=filter_name,
        pupil="GR700XD",
        order=order,
        photmj=instrument.PHOTMJ,
        uncertainty=0.0,
        nelem=n,
        wavelength=arrays[0],
        relresponse=arrays[1],
        reluncertainty=np.zeros(_PHOTOM_WIDTH, dtype=np.float32),
    )


def _photom(pwcpos: float, kind: str) -> Any:
    rows = [_photom_row(name, order, pwcpos, kind) for name, order in _PHOTOM_SIZES]
    model = datamodels.NisSossPhotomModel(phot_table=rows_to_array(rows))
    model.meta.photometry.pixelarea_steradians = _PIXEL_AREA[0]
    model.meta.photometry.pixelarea_arcsecsq = _PIXEL_AREA[1]
    return model
