"""Settings of the smooth fit of a ratio curve."""

from __future__ import annotations

from dataclasses import dataclass

from soss_photcal_steps.errors import SossInputError

__all__ = ["FitOptions"]

_METHODS = ("auto", "legendre", "spline", "smooth", "none")
_SECTIONS = ("one", "order2")


@dataclass(frozen=True)
class FitOptions:
    """Settings of the fit of one order.

    Attributes
    ----------
    method : {"auto", "legendre", "spline", "smooth", "none"}
        Kind of curve; ``spline`` has few knots, ``smooth`` is a smoothing spline; ``auto`` takes a
        Legendre series if its residuals pass the test and no spline is far more likely, else the
        better spline.
    degree : int or None
        Degree of the Legendre series; found from the data if None.
    knots : tuple of float or None
        Inner knots of the spline, um; found from the data if None.
    sections : {"one", "order2"} or tuple of float
        One section; those of order 2, found in the data; or the wavelengths where sections
        join, um.
    max_degree : int
        Highest degree that is tried.
    max_knots : int
        Most inner knots that are tried; a smoothing spline has no more freedom than that many
        knots give.
    short_degree : int
        Highest degree of the two short sections of order 2; the report takes 1 or 2.
    peak_range, minimum_range : tuple of float
        Where the peak and the minimum at the short end of order 2 are looked for, um.
    sigma : float
        Threshold of the rejection, in units of the noise.
    maxiters : int
        Most rounds of rejection; 0 rejects nothing.
    min_points : int
        Fewest good points of an order.

    Raises
    ------
    SossInputError
        If a setting makes no sense.
    """

    method: str = "auto"
    degree: int | None = None
    knots: tuple[float, ...] | None = None
    sections: str | tuple[float, ...] = "one"
    max_degree: int = 8
    max_knots: int = 20
    short_degree: int = 2
    peak_range: tuple[float, float] = (0.55, 0.63)
    minimum_range: tuple[float, float] = (0.575, 0.67)
    sigma: float = 4.0
    maxiters: int = 10
    min_points: int = 30

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise SossInputError(
                f"Fit method {self.method!r} is not known; it is one of {', '.join(_METHODS)}."
            )
        if isinstance(self.sections, str) and self.sections not in _SECTIONS:
            raise SossInputError(
                f"Sections {self.sections!r} are not known; give 'one', 'order2', or the "
                "wavelengths in um where sections join."
            )
        if self.method == "smooth" and (self.degree is not None or self.knots is not None):
            raise SossInputError(
                "A smoothing spline has neither a degree nor knots to be given; take 'spline' "
                "for knots and 'legendre' for a degree."
            )
        if self.sigma <= 0:
            raise SossInputError(f"The rejection threshold must be above 0, not {self.sigma}.")
        for name in ("degree", "max_degree", "max_knots", "short_degree", "maxiters"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SossInputError(f"{name} must not be negative, as {value} is.")
        for name in ("peak_range", "minimum_range"):
            low, high = getattr(self, name)
            if not low < high:
                raise SossInputError(f"{name} must rise, unlike {low} to {high}.")
