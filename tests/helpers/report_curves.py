"""Ratio curves of the shapes that JWST-STScI-009248 describes, with noise and contamination.

The nodes are read from the text of sections 6.1 to 6.5 and 7, where it gives numbers; values that
it leaves open (marked below) are chosen to join what it says.  Between the nodes runs a monotone
cubic, so that level stretches are level.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator

from soss_photcal_steps.trace import wavelengths


@dataclass(frozen=True)
class Shape:
    """One curve: its order, nodes, the range to fit (um), and whether the peak is in it."""

    order: int
    nodes: tuple[tuple[float, float], ...]
    fitted: tuple[float, float]
    peak: float | None = None
    minimum: float | None = None
    noise: float = 0.002
    star: str = "hot"
    contaminated: tuple[float, ...] = ()
    excluded: tuple[tuple[float, float], ...] = ()


# 6.1: 0.99 and flat to 1.24, falling to 2.0 (value open), flat to 2.35, 0.88 at the end.
_BD_1 = ((0.84, 0.99), (1.24, 0.99), (1.6, 0.968), (2.0, 0.945), (2.35, 0.945), (2.84, 0.88))
# 6.4: "close to 1 at the shortest wavelengths", 0.85 at the end, the shape like that of 6.1.
_P177D_1 = ((0.84, 1.0), (1.24, 0.998), (1.6, 0.97), (2.0, 0.94), (2.35, 0.935), (2.84, 0.85))
# 6.5: like 6.4, below the model nearly everywhere; 2.1 to 2.6 um left out in program 4498.
_P330E_1 = ((0.84, 0.985), (1.24, 0.982), (1.6, 0.958), (2.0, 0.94), (2.35, 0.93), (2.84, 0.87))
# 6.2: 0.97 to 1 to 1.65 um, 0.96 to 1.0 to 1.97 um; fitted to 2.0 um only.
_A8_1 = ((0.84, 0.985), (1.0, 0.998), (1.3, 0.985), (1.65, 0.972), (1.85, 0.965), (2.02, 0.985))
# 6.3 gives no numbers for order 1; section 7: some 2 to 4 per cent above the others.
_G191_1 = ((0.84, 1.01), (1.1, 1.02), (1.4, 1.005), (1.7, 0.99), (2.02, 0.985))

# 6.1: peak below 0.6 um (1.14 to 1.35, section 7), 0.975 at 0.7, 1 at 0.8, 0.875 at 1.0.
_BD_2 = (
    (0.545, 0.90),
    (0.591, 1.25),
    (0.602, 0.985),
    (0.64, 0.985),
    (0.70, 0.975),
    (0.80, 1.0),
    (0.83, 0.995),
    (0.90, 0.955),
    (1.0, 0.875),
    (1.05, 0.70),
    (1.12, 0.40),
)
# 6.2: near 1 to the Paschen limit, 0.96 at 0.91, some per cent less at 1.0, then rising.
_A8_2 = (
    (0.545, 0.95),
    (0.588, 1.14),
    (0.606, 0.96),
    (0.65, 0.99),
    (0.72, 1.0),
    (0.82, 1.0),
    (0.91, 0.96),
    (1.0, 0.93),
    (1.023, 0.96),
    (1.05, 1.05),
)
# 6.3, all given: 0.99 at 0.861 to 0.893, 1.05 at 0.821, 1 before H alpha, 0.98 to 0.6184,
# 0.92 at 0.6025, 1.63 at 0.5905.
_G191_2 = (
    (0.545, 0.80),
    (0.5905, 1.63),
    (0.6025, 0.92),
    (0.6184, 0.98),
    (0.645, 0.98),
    (0.668, 1.0),
    (0.74, 1.02),
    (0.821, 1.05),
    (0.861, 0.99),
    (0.893, 0.99),
    (0.95, 0.96),
    (1.01, 0.93),
)
# 6.4 and 6.5: like 6.1 to 0.9 um; the break of section 7 at its longest.
_P177D_2 = (
    (0.545, 1.0),
    (0.596, 1.35),
    (0.615, 0.99),
    (0.65, 0.98),
    (0.70, 0.978),
    (0.80, 1.0),
    (0.90, 0.96),
    (1.0, 0.91),
    (1.05, 0.87),
    (1.105, 0.83),
    (1.15, 0.6),
)
_P330E_2 = (
    (0.545, 0.98),
    (0.585, 1.2),
    (0.64, 0.972),
    (0.70, 0.965),
    (0.80, 0.99),
    (0.90, 0.945),
    (0.975, 0.90),
    (1.05, 0.8),
    (1.12, 0.6),
)
# No peak within the wavelengths, as where an observation's valid range begins beyond it.
_NO_PEAK_2 = ((0.60, 0.99), (0.64, 0.985), (0.70, 0.975), (0.80, 1.0), (0.90, 0.955), (1.0, 0.875))

#: Curves by name: star and order.  The noise is that of a pixel at middle wavelengths.
SHAPES = {
    "bd60d1753 1": Shape(1, _BD_1, (0.85, 2.83), noise=0.001),
    "1743045 1": Shape(1, _A8_1, (0.85, 2.0), noise=0.003, star="A", contaminated=(1.55,)),
    "g191b2b 1": Shape(
        1,
        _G191_1,
        (0.85, 2.0),
        noise=0.003,
        star="white dwarf",
        contaminated=(0.8536, 1.116, 1.248, 1.337, 1.350, 1.708),
    ),
    "p177d 1": Shape(1, _P177D_1, (0.85, 2.83), noise=0.002, star="solar", contaminated=(2.115,)),
    "p330e 1": Shape(1, _P330E_1, (0.85, 2.83), noise=0.002, star="solar", excluded=((2.1, 2.6),)),
    "bd60d1753 2": Shape(2, _BD_2, (0.575, 1.0), 0.591, 0.602, noise=0.001),
    "1743045 2": Shape(2, _A8_2, (0.575, 1.023), 0.588, 0.606, 0.003, "A", (0.77,)),
    "g191b2b 2": Shape(
        2, _G191_2, (0.575, 1.01), 0.5905, 0.6025, 0.003, "white dwarf", (0.6584, 0.7494)
    ),
    "p177d 2": Shape(2, _P177D_2, (0.575, 1.1), 0.596, 0.615, 0.002, "solar", (1.068,)),
    "p330e 2": Shape(2, _P330E_2, (0.573, 1.1), 0.585, 0.64, 0.002, "solar"),
    "no peak 2": Shape(2, _NO_PEAK_2, (0.61, 1.0), noise=0.002),
}


@dataclass(frozen=True)
class Ratio:
    """A drawn ratio with its truth.  Arrays have shape (n,), by rising wavelength."""

    wavelength: np.ndarray
    ratio: np.ndarray
    error: np.ndarray
    mask: np.ndarray
    truth: np.ndarray
    noise: np.ndarray
    contamination: np.ndarray


def noise_per_pixel(order, wavelength, middle):
    """Give the relative noise: `middle` at middle wavelengths, per cents at the ends."""
    if order == 1:
        long = np.clip((wavelength - 1.3) / 1.53, 0, 1) ** 4
        short = np.clip((1.0 - wavelength) / 0.15, 0, 1) ** 2
        return middle * (1 + 14 * long + 9 * short)
    long = np.clip((wavelength - 0.95) / 0.1, 0, 3) ** 2
    short = np.clip((0.62 - wavelength) / 0.04, 0, 2) ** 2
    return middle * (1 + 12 * long + 12 * short)


def correlated(rng, size, neighbour=0.35):
    """Draw noise of unit variance of which neighbours share some."""
    raw = rng.normal(size=size + 2)
    return (raw[1:-1] + neighbour * (raw[:-2] + raw[2:])) / np.sqrt(1 + 2 * neighbour**2)


def hydrogen_lines(first, last):
    """Give wavelength (um, vacuum), distance to the next and number of the hydrogen lines."""
    found = []
    for lower in (2, 3, 4):
        upper = np.arange(lower + 1, 16)
        places = 1 / (10.96776 * (1 / lower**2 - 1 / upper**2))
        for number, (place, following) in enumerate(pairwise(places), 1):
            if first < place < last:
                found.append((place, place - following, number))
    return found


#: Half width of the masked windows as a fraction of the wavelength, width of the residuals (um
#: in order 1, half of that in order 2) and their height over 5 to 10 per cent, by kind of star.
LINES = {
    "hot": (0.008, 0.003, 1.0),
    "A": (0.010, 0.004, 1.0),
    "white dwarf": (0.008, 0.003, 0.3),
    "solar": (0.004, 0.0015, 0.5),
}


def draw(
    name,
    seed,
    *,
    noise=1.0,
    lines=True,
    zero_orders=3,
    quoted=1.0,
    neighbour=0.35,
    known_masked=False,
    clear=True,
):
    """Draw a ratio of the shape `name`.

    Lines leave residuals of 5 to 10 per cent, the cores masked, the wings not.  `zero_orders`
    images with a full width of 5 to 20 pixels and 3 to 50 per cent high fall anywhere and are
    not masked; nor are those at the shape's own wavelengths, unless `known_masked`.  `quoted` is
    the quoted error over the true one; `clear` keeps the images away from the sharp
    peak of order 2, which they may hide or mimic.
    """
    shape = SHAPES[name]
    rng = np.random.default_rng([seed, *name.encode()])
    low, high = shape.fitted
    wavelength = np.sort(wavelengths(shape.order))
    wavelength = wavelength[(wavelength > low - 0.03) & (wavelength < high + 0.03)]
    wavelength = wavelength[(wavelength > shape.nodes[0][0]) & (wavelength < shape.nodes[-1][0])]
    truth = PchipInterpolator(*np.transpose(shape.nodes))(wavelength)
    relative = noise_per_pixel(shape.order, wavelength, shape.noise * noise)
    n = wavelength.size
    mask = ((wavelength < low) | (wavelength > high)).astype(np.uint32) * 4
    for first, last in shape.excluded:
        mask[(wavelength > first) & (wavelength < last)] |= 1024
    extra = np.zeros(n)
    step = np.median(np.diff(wavelength))
    if lines:
        fraction, width, strength = LINES[shape.star]
        for place, spacing, number in hydrogen_lines(low - 0.02, high + 0.02):
            height = strength * rng.uniform(0.05, 0.10) * rng.choice([-1, 1]) / np.sqrt(number)
            distance = np.abs(wavelength - place)
            extra += height * np.exp(-distance * shape.order / width)
            mask[distance < min(fraction * place, 0.35 * spacing)] |= 64
    usable = np.flatnonzero(mask == 0)[15:-15]
    if shape.order == 2 and clear:
        usable = usable[wavelength[usable] > max(shape.minimum or 0.0, 0.615) + 0.025]
    centres = rng.choice(wavelength[usable], zero_orders) if zero_orders else []
    known = () if known_masked else shape.contaminated
    for place in [*centres, *known]:
        width = rng.uniform(5, 20) * step / 2.355
        height = rng.uniform(0.03, 0.5)
        extra += height * np.exp(-0.5 * ((wavelength - place) / width) ** 2)
    if known_masked:
        for place in shape.contaminated:
            mask[np.abs(wavelength - place) < 15 * step] |= 1024
    ratio = truth * (1 + extra) + truth * relative * correlated(rng, n, neighbour)
    error = truth * relative * quoted * (1 + 0.05 * rng.normal(size=n))
    return Ratio(wavelength, ratio, error, mask, truth, truth * relative, extra)
