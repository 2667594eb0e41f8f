"""The measured correction of one spectral order: what the combination hands to the photom file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.errors import SossInputError

__all__ = ["OrderCorrection"]


@dataclass(frozen=True)
class OrderCorrection:
    """Ratio R = observed / model of one order, over the wavelengths where it was measured.

    R was measured through a photom file.  Dividing that file's response by R makes the stars'
    own counts come out as their models; nothing is ever multiplied by R.

    Attributes
    ----------
    order : int
        Spectral order.
    wavelength : ndarray, shape (n,)
        Vacuum wavelength, um, strictly rising.  Its ends are the ends of the measurement.
    correction : ndarray, shape (n,)
        R, without unit, positive.
    stat_error : ndarray, shape (n,)
        Statistical 1-sigma error of R, as a fraction of R.
    sys_error : ndarray, shape (n,)
        Systematic 1-sigma error of R, as a fraction of R, the common part included.
    scale_error : float or None
        The part of ``sys_error`` that is common to all wavelengths, such as the error of the
        absolute scale, as a fraction.  None takes the smallest ``sys_error``.
    filter, pupil : str
        Which rows of the photom file it belongs to, together with the order.

    Raises
    ------
    SossInputError
        If the arrays have different lengths, fewer than two points, or values that cannot be.
    """

    order: int
    wavelength: np.ndarray
    correction: np.ndarray
    stat_error: np.ndarray
    sys_error: np.ndarray
    scale_error: float | None = None
    filter: str = "CLEAR"
    pupil: str = "GR700XD"

    def __post_init__(self) -> None:
        """Refuse what cannot be a measurement."""
        what = f"The correction of order {self.order}"
        shapes = {
            np.shape(array)
            for array in (self.wavelength, self.correction, self.stat_error, self.sys_error)
        }
        shape = shapes.pop()
        if shapes or len(shape) != 1 or shape[0] < 2:
            raise SossInputError(
                f"{what} needs one-dimensional arrays of one length, at least 2, for wavelength, "
                "correction and both errors."
            )
        if not np.all(np.isfinite(self.wavelength)) or not np.all(np.diff(self.wavelength) > 0):
            raise SossInputError(f"{what} needs finite wavelengths that rise strictly.")
        if not np.all(np.isfinite(self.correction)) or not np.all(self.correction > 0):
            raise SossInputError(
                f"{what} holds values that are not positive numbers; leave out what was not "
                "measured."
            )
        for name in ("stat_error", "sys_error"):
            error = getattr(self, name)
            if not np.all(np.isfinite(error)) or np.any(error < 0):
                raise SossInputError(f"{what}: {name} must be finite and not negative.")
        scale = self.scale_error
        if scale is not None and not 0 <= scale < np.inf:
            raise SossInputError(f"{what}: scale_error must be finite and not negative.")

    @property
    def common_error(self) -> float:
        """Relative error that all wavelengths share, see ``scale_error``."""
        if self.scale_error is None:
            return float(np.min(self.sys_error))
        return float(self.scale_error)

    @property
    def total_error(self) -> np.ndarray:
        """Statistical and systematic error, added in quadrature, as a fraction; shape (n,)."""
        return np.hypot(self.stat_error, self.sys_error)
