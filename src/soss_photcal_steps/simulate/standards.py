"""The standard stars of simulated campaigns: position, brightness and spectrum.

The embedded spectra are analytic: a smooth continuum with hydrogen lines on it.  The
continua go through medians (over 0.012 um) of the CALSPEC spectra of the five standards of
JWST-STScI-009248 (Table 1; files ``bd60d1753_stiswfc_004``, ``1743045_stisnic_007``,
``g191b2b_stiswfcnic_004``, ``p177d_stisnic_010`` and ``p330e_stiswfcnic_006``), interpolated in
the logarithm, so that colour and brightness are real.  The lines are at their vacuum
wavelengths; their depths and widths are plausible for the kind of star, not measured, and
their widths are at least those that SOSS shows.  Any other spectrum, such as a CALSPEC file, may
take the place of the embedded one.

Positions and proper motions are those of the table of the CALSPEC standards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator

from soss_photcal_steps.errors import SossInputError

__all__ = [
    "STANDARDS",
    "AnalyticSpectrum",
    "HydrogenLines",
    "StandardStar",
    "TabulatedSpectrum",
    "hydrogen_lines",
    "standard",
]

# Wavelengths of the continuum's nodes, um.
_NODES = (
    0.56, 0.60, 0.70, 0.80, 0.90, 1.00, 1.15, 1.30, 1.50, 1.75, 2.00, 2.30, 2.60, 2.90, 3.10,
)  # fmt: skip
_JANSKY = 1e-6
# Rydberg constant for hydrogen, 1/um.
_RYDBERG = 10.96775834
# Names of the series by their lower level, and the highest upper level that is followed.
_SERIES = {"Balmer": 2, "Paschen": 3, "Brackett": 4, "Pfund": 5}
_HIGHEST = 18
# Wavelengths over which the error of a model makes one wave, um.
_SHAPE_RANGE = (0.55, 2.9)


def hydrogen_lines(series: str) -> np.ndarray:
    """Vacuum wavelengths of a series of hydrogen.

    Parameters
    ----------
    series : {"Balmer", "Paschen", "Brackett", "Pfund"}
        Name of the series.

    Returns
    -------
    ndarray
        Wavelengths from the first line towards the limit, um.

    Raises
    ------
    SossInputError
        If the series is not known.
    """
    if series not in _SERIES:
        raise SossInputError(f"The series {series!r} is not one of {', '.join(_SERIES)}.")
    low = _SERIES[series]
    high = np.arange(low + 1, _HIGHEST + 1)
    return 1 / (_RYDBERG * (1 / low**2 - 1 / high**2))


@dataclass(frozen=True)
class HydrogenLines:
    """Strength of the hydrogen lines of a star.

    Attributes
    ----------
    balmer, paschen, brackett, pfund : float
        Depth of the first line of the series, as a fraction of the continuum.
    decay : float
        Each line of a series is this many times as deep as the one before.
    width : float
        Gaussian sigma of the lines, um.
    """

    balmer: float
    paschen: float
    brackett: float
    pfund: float
    decay: float
    width: float

    def transmission(self, wavelength_um: np.ndarray) -> np.ndarray:
        """Factor that the lines leave of the continuum.

        Parameters
        ----------
        wavelength_um : ndarray
            Wavelengths, um.

        Returns
        -------
        ndarray
            Between 0 and 1.
        """
        wavelength = np.asarray(wavelength_um, dtype=float)
        left = np.ones_like(wavelength)
        for series, depth in zip(
            _SERIES, (self.balmer, self.paschen, self.brackett, self.pfund), strict=True
        ):
            for number, line in enumerate(hydrogen_lines(series)):
                u = (wavelength - line) / self.width
                left -= depth * self.decay**number * left * np.exp(-0.5 * u**2)
        return left


@dataclass(frozen=True)
class AnalyticSpectrum:
    """A smooth continuum with hydrogen lines.

    Attributes
    ----------
    continuum : tuple of float
        Flux of the continuum at the fifteen nodes from 0.56 to 3.10 um, Jy.
    lines : HydrogenLines
        The lines.
    """

    continuum: tuple[float, ...]
    lines: HydrogenLines

    @cached_property
    def _curve(self) -> PchipInterpolator:
        return PchipInterpolator(np.log(_NODES), np.log(self.continuum))

    def __call__(self, wavelength_um: np.ndarray) -> np.ndarray:
        """Flux density.

        Parameters
        ----------
        wavelength_um : ndarray
            Wavelengths, um.

        Returns
        -------
        ndarray
            F_nu, MJy.  Beyond the nodes the continuum goes on as a power law.
        """
        x = np.log(np.asarray(wavelength_um, dtype=float))
        low, high = np.log(_NODES[0]), np.log(_NODES[-1])
        inside = np.clip(x, low, high)
        slope = np.where(x < low, self._curve(low, 1), self._curve(high, 1))
        continuum = np.exp(self._curve(inside) + slope * (x - inside))
        return _JANSKY * continuum * self.lines.transmission(wavelength_um)


@dataclass(frozen=True)
class TabulatedSpectrum:
    """A spectrum that is interpolated in a table.

    Attributes
    ----------
    wavelength : ndarray, shape (n,)
        Vacuum wavelengths, rising, um.
    flux : ndarray, shape (n,)
        F_nu, MJy.
    source : str
        Where it is from.
    """

    wavelength: np.ndarray = field(repr=False, compare=False)
    flux: np.ndarray = field(repr=False, compare=False)
    source: str = ""

    def __post_init__(self) -> None:
        """Check the table."""
        wavelength, flux = np.asarray(self.wavelength), np.asarray(self.flux)
        if wavelength.ndim != 1 or wavelength.size < 2 or wavelength.shape != flux.shape:
            raise SossInputError(
                "A spectrum needs two columns of equal length, not shapes "
                f"{wavelength.shape} and {flux.shape}."
            )
        if not (np.diff(wavelength) > 0).all():
            raise SossInputError("The wavelengths of a spectrum must rise.")

    def __call__(self, wavelength_um: np.ndarray) -> np.ndarray:
        """Flux density.

        Parameters
        ----------
        wavelength_um : ndarray
            Wavelengths, um.

        Returns
        -------
        ndarray
            F_nu, MJy; beyond the table its end values.
        """
        return np.interp(wavelength_um, self.wavelength, self.flux)


@dataclass(frozen=True)
class StandardStar:
    """A standard star: what its model says, and by how much the star differs from it.

    Attributes
    ----------
    name : str
        Catalogue name, keyword TARGNAME.
    proposed_name : str
        Name that the proposer gave, keyword TARGPROP.
    calspec : str
        Name in CALSPEC, by which its files begin.
    kind : str
        Kind of star.
    ra, dec : float
        Position, equinox and epoch 2000, degrees.
    proper_motion : tuple of float
        In right ascension (times the cosine of the declination) and declination, arcsec/yr.
    spectrum : callable
        Model flux F_nu in MJy as a function of wavelength in um.
    grey_error : float
        The true star is (1 + grey_error) times as bright as the model at all wavelengths.
    shape_error, shape_phase : float
        Amplitude and phase (in turns) of a smooth error of the model: one wave in the
        logarithm of the wavelength from 0.55 to 2.9 um.
    """

    name: str
    proposed_name: str
    calspec: str
    kind: str
    ra: float
    dec: float
    proper_motion: tuple[float, float]
    spectrum: Callable[[np.ndarray], np.ndarray]
    grey_error: float = 0.0
    shape_error: float = 0.0
    shape_phase: float = 0.0

    def model_flux(self, wavelength_um: np.ndarray) -> np.ndarray:
        """Flux density that the model gives: what a calibration compares with.

        Parameters
        ----------
        wavelength_um : ndarray
            Wavelengths, um.

        Returns
        -------
        ndarray
            F_nu, MJy.
        """
        return np.asarray(self.spectrum(np.asarray(wavelength_um, dtype=float)))

    def model_error(self, wavelength_um: np.ndarray) -> np.ndarray:
        """Ratio of the true flux to that of the model.

        Parameters
        ----------
        wavelength_um : ndarray
            Wavelengths, um.

        Returns
        -------
        ndarray
            Ratio, 1 for a perfect model.
        """
        low, high = np.log(_SHAPE_RANGE)
        turns = (np.log(np.asarray(wavelength_um, dtype=float)) - low) / (high - low)
        wave = np.sin(2 * np.pi * (turns + self.shape_phase))
        return (1 + self.grey_error) * (1 + self.shape_error * wave)

    def true_flux(self, wavelength_um: np.ndarray) -> np.ndarray:
        """Flux density that reaches the telescope.

        Parameters
        ----------
        wavelength_um : ndarray
            Wavelengths, um.

        Returns
        -------
        ndarray
            F_nu, MJy.
        """
        return self.model_flux(wavelength_um) * self.model_error(wavelength_um)


_A0 = HydrogenLines(0.50, 0.35, 0.28, 0.14, 0.86, 0.0022)
_A8 = HydrogenLines(0.38, 0.26, 0.20, 0.10, 0.84, 0.0020)
_WHITE_DWARF = HydrogenLines(0.30, 0.20, 0.12, 0.05, 0.70, 0.0045)
_SOLAR = HydrogenLines(0.22, 0.07, 0.05, 0.02, 0.75, 0.0016)

#: The five standards of the report, by their names in CALSPEC.
STANDARDS = {
    star.calspec: star
    for star in (
        StandardStar(
            "BD+60 1753", "BD+60-1753", "bd60d1753", "A1V", 261.21781, 60.43076,
            (0.00489, 0.00376),
            AnalyticSpectrum(
                (0.4850, 0.4531, 0.3875, 0.3338, 0.3205, 0.2981, 0.2462, 0.2034, 0.1639, 0.1325,
                 0.1064, 0.08328, 0.06697, 0.05588, 0.04949), _A0),
        ),
        StandardStar(
            "2MASS J17430448+6655015", "2MASS-J17430448+6655015", "1743045", "A8III",
            265.76869, 66.91713, (0.0011, -0.00279),
            AnalyticSpectrum(
                (0.01458, 0.01441, 0.01377, 0.01300, 0.01227, 0.01201, 0.01101, 0.009679, 0.008286,
                 0.006787, 0.005543, 0.004404, 0.003487, 0.002895, 0.002568), _A8),
        ),
        StandardStar(
            "G 191-B2B", "G191-B2B", "g191b2b", "DA.8", 76.37758, 52.83109, (0.0127, -0.09342),
            AnalyticSpectrum(
                (0.06798, 0.05972, 0.04493, 0.03490, 0.02793, 0.02273, 0.01759, 0.01389, 0.01056,
                 0.007892, 0.006067, 0.004619, 0.003637, 0.002946, 0.002587), _WHITE_DWARF),
        ),
        StandardStar(
            "GSPC P177-D", "GSPC-P177-D", "p177d", "G0V", 239.80658, 47.61164,
            (-0.0079, 0.00157),
            AnalyticSpectrum(
                (0.01565, 0.01709, 0.01890, 0.01997, 0.02025, 0.02037, 0.01965, 0.01938, 0.01837,
                 0.01615, 0.01326, 0.01080, 0.00861, 0.007184, 0.006371), _SOLAR),
        ),
        StandardStar(
            "GSPC P330-E", "GSPC-P330-E", "p330e", "G2V", 247.89089, 30.14622,
            (-0.00899, -0.03877),
            AnalyticSpectrum(
                (0.02411, 0.02624, 0.02911, 0.03053, 0.03107, 0.03099, 0.03037, 0.02969, 0.02794,
                 0.02465, 0.02013, 0.01606, 0.01302, 0.01085, 0.009625), _SOLAR),
        ),
    )
}  # fmt: skip


def standard(calspec: str) -> StandardStar:
    """Give one of the five standards.

    Parameters
    ----------
    calspec : str
        Its name in CALSPEC, such as ``bd60d1753``.

    Returns
    -------
    StandardStar
        The star, with the embedded spectrum.

    Raises
    ------
    SossInputError
        If there is no such standard.
    """
    try:
        return STANDARDS[calspec]
    except KeyError:
        raise SossInputError(
            f"There is no standard {calspec!r}; the embedded ones are {', '.join(STANDARDS)}."
        ) from None
