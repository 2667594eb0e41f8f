"""Where a standard star's light falls, and how much of it.

The light of the star is defined through the aperture: at each column the sum over a box of
`instrument.APERTURE_WIDTH` pixels, centred on the trace, is the star's flux at the wavelength
of the column divided by the response of the order.  The simulator's own measure of brightness
is the light within 12.5 pixels of the trace, so the counts are divided by the share of the
profile that the box holds (`kernels.aperture_share`): about 1.05, depending on order and
column and on where the trace lies within a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.instrument import APERTURE_WIDTH, response
from soss_photcal_steps.simulate.kernels import aperture_share
from soss_photcal_steps.simulate.standards import StandardStar
from soss_photcal_steps.trace import (
    DETECTOR_SIZE,
    ORDERS,
    PWCPOS_COMMANDED,
    trace_positions,
    wavelengths,
)

__all__ = ["CalibratedLight", "zero_order_on_trace"]


@dataclass(frozen=True)
class CalibratedLight:
    """A star's light on the detector, through the response of the instrument.

    Attributes
    ----------
    star : StandardStar
        The star.
    pwcpos : float
        Angle of the pupil wheel, degrees.
    throughput : tuple of float
        Factor on the counts of orders 1, 2 and 3.
    """

    star: StandardStar
    pwcpos: float = PWCPOS_COMMANDED
    throughput: tuple[float, float, float] = (1.0, 1.0, 1.0)
    _reach: float = field(default=20.0, repr=False)

    def _wavelengths(self, order: int, columns: np.ndarray) -> np.ndarray:
        # The polynomials are for the detector; what is far beside it is held at the edge.
        inside = np.clip(columns, -self._reach, DETECTOR_SIZE - 1 + self._reach)
        return wavelengths(order, inside, self.pwcpos)

    def counts(self, order: int, columns: np.ndarray) -> np.ndarray:
        """Light of an order in a whole aperture, were the subarray without edges.

        Parameters
        ----------
        order : {1, 2, 3}
            Spectral order.
        columns : ndarray
            Columns, pixels.

        Returns
        -------
        ndarray
            DN/s.
        """
        wave = self._wavelengths(order, np.asarray(columns, dtype=float))
        flux = self.star.true_flux(wave)
        return self.throughput[order - 1] * flux / response(order, wave)

    def brightness(self, order: int, columns: np.ndarray) -> np.ndarray:
        """Light within 12.5 pixels of the trace's centre, as the simulator takes it.

        Parameters
        ----------
        order : {1, 2, 3, 4}
            Spectral order; there is no light in order 4.
        columns : ndarray
            Columns, pixels.

        Returns
        -------
        ndarray
            DN/s.
        """
        columns = np.asarray(columns, dtype=float)
        if order not in ORDERS:
            return np.zeros_like(columns)
        share = aperture_share(order, APERTURE_WIDTH, self.pwcpos, columns)
        return self.counts(order, columns) / share


def zero_order_on_trace(
    order: int,
    wavelength: float,
    peak: float,
    *,
    pwcpos: float = PWCPOS_COMMANDED,
    offset: float = 0.0,
) -> tuple[float, float, float]:
    """Place a zero order where it falls on a trace at a given wavelength.

    Parameters
    ----------
    order : {1, 2, 3}
        Order whose trace it falls on.
    wavelength : float
        Wavelength of that order there, um.
    peak : float
        Peak of the zero order, DN/s.
    pwcpos : float, optional
        Angle of the pupil wheel, degrees.
    offset : float, optional
        Distance of its centre above the trace, pixels.

    Returns
    -------
    tuple of float
        Column, row and peak.

    Raises
    ------
    SossInputError
        If the order does not have this wavelength on the detector.
    """
    columns = np.arange(DETECTOR_SIZE, dtype=float)
    wave = wavelengths(order, columns, pwcpos)
    if not wave[-1] <= wavelength <= wave[0]:
        raise SossInputError(
            f"Order {order} has {wave[-1]:.3f} to {wave[0]:.3f} um on the detector, not "
            f"{wavelength} um."
        )
    column = float(np.interp(wavelength, wave[::-1], columns[::-1]))
    row = float(trace_positions(order, pwcpos, np.array([column]))[0])
    return column, row + offset, peak
