"""Read the image that sources are looked for in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.trace import SUBSTRIP256_FIRST_ROW

__all__ = ["FieldImage", "open_exposure", "read_image"]


@dataclass(frozen=True)
class FieldImage:
    """A combined image and what is known of it.

    Attributes
    ----------
    name : str
        File name.
    image : ndarray, shape (ny, 2048)
        Combined count rate, DN/s.
    good : ndarray of bool
        Valid pixels.
    lines : ndarray, shape (ny,)
        Rows, pixels of SUBSTRIP256.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    pwcpos_known : bool
        Whether the header has it; otherwise it is the commanded one.
    filter, subarray : str
        Keywords.
    subtracted : bool
        Whether the header says that a background was subtracted.
    n_integrations : int
        Integrations combined.
    target : tuple of float or None
        Right ascension and declination of the target, ICRS at the epoch of the observation
        where the header gives a proper motion, else as proposed, degrees.
    roll : float or None
        Position angle of the V3 axis at the aperture (ROLL_REF), degrees.
    v3_ideal : float or None
        V3I_YANG, degrees.
    parity : int or None
        VPARITY.
    epoch : float or None
        Julian year of the middle of the exposure.
    """

    name: str
    image: np.ndarray
    good: np.ndarray
    lines: np.ndarray
    pwcpos: float
    pwcpos_known: bool
    filter: str
    subarray: str
    subtracted: bool
    n_integrations: int
    target: tuple[float, float] | None = None
    roll: float | None = None
    v3_ideal: float | None = None
    parity: int | None = None
    epoch: float | None = None


@contextmanager
def open_exposure(path: str) -> Iterator[tuple[Any, Any]]:
    """Open a rate, rateints or calints file, without reading its pixels where that is possible.

    Parameters
    ----------
    path : str
        The file.

    Yields
    ------
    model : JwstDataModel
        Its metadata, or all of it.
    integrations : Integrations
        What reads its pixels while the context is open.
    """
    from stdatamodels.jwst import datamodels

    from soss_photcal_steps.background.readers import ModelIntegrations, StreamedIntegrations
    from soss_photcal_steps.ratefile import RateFile, open_metadata

    with RateFile(path) as source:
        if source.streamable:
            with open_metadata(source) as model:
                yield model, StreamedIntegrations(source)
                return
    with datamodels.open(path) as model:
        yield model, ModelIntegrations(model)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def read_image(
    path: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None
) -> FieldImage:
    """Read a rate, rateints or calints file of SOSS and combine its integrations.

    Parameters
    ----------
    path : path
        The file.
    progress : callable, optional
        Called with the number of integrations combined and of all.

    Returns
    -------
    FieldImage
        Robust mean over the integrations; of the frame FULL only the rows of SUBSTRIP256.

    Raises
    ------
    SossInputError
        If the file cannot be read or is no exposure of SOSS in DN/s.
    """
    from soss_photcal_steps.background.conclude import FitError
    from soss_photcal_steps.background.exposure import combine_exposure
    from soss_photcal_steps.background.inputs import ExposureInfo, check_usable

    with open_exposure(os.fspath(path)) as (model, integrations):
        info = ExposureInfo.from_model(model, integrations.shape)
        check_usable(info)
        window = info.window
        try:
            combined = combine_exposure([integrations], progress)
        except FitError as error:
            raise SossInputError(f"{path} cannot be used: {error}.") from error
        target, wcs = model.meta.target, model.meta.wcsinfo
        place = (_number(target.ra), _number(target.dec))
        middle = _number(model.meta.exposure.mid_time)
        image = np.asarray(combined.image, float)
        lines = np.arange(window.n_rows) + window.first_row - SUBSTRIP256_FIRST_ROW
        part = lines >= 0 if window.n_rows > 256 else np.ones(lines.size, bool)
        good = np.isfinite(image[part])
        return FieldImage(
            name=info.name,
            image=np.where(good, image[part], 0.0),
            good=good,
            lines=lines[part],
            pwcpos=info.angle,
            pwcpos_known=info.pwcpos is not None,
            filter=str(info.filter).upper(),
            subarray=str(info.subarray).upper(),
            subtracted=info.subtracted,
            n_integrations=int(integrations.shape[0]),
            target=None if place[0] is None or place[1] is None else (place[0], place[1]),
            roll=_number(wcs.roll_ref),
            v3_ideal=_number(wcs.v3yangle),
            parity=None if wcs.vparity is None else int(wcs.vparity),
            epoch=None if middle is None else 2000.0 + (middle - 51544.5) / 365.25,
        )
