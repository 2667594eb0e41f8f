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
that noise: 9600 points instead of 5900, for three to four times the time.  ``soss_n_os`` is to
stay at 2: at 1 the points of the grid fall on the edges of the pixels, and the model of order 2
fails in the column where the joint fit of orders 1 and 2 ends.
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

from soss_photcal_steps import __version__
from soss_photcal_steps._jwst import add_history_entry
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path
from soss_photcal_steps.simulate.library import TemplateLibrary, make_library
from soss_photcal_steps.simulate.refmodels import (
    flat_model,
    pastasoss_model,
    photom_model,
    speckernel_model,
    specprofile_model,
)
from soss_photcal_steps.simulate.write import write_library
from soss_photcal_steps.trace import (
    DETECTOR_SIZE,
    ORDERS,
    PWCPOS_COMMANDED,
    subarray_rows,
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
        "flat": flat_model(subarray),
        "pastasoss": pastasoss_model(pwcpos, order2_offsets == "absolute"),
        "specprofile": specprofile_model(pwcpos, subarray),
        "speckernel": speckernel_model(),
        "photom": photom_model(pwcpos, photom),
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
