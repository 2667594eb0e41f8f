"""Other sources in the field: zero orders and the dispersed light of field stars.

Zero orders look as on the F277W and CLEAR frames of the WASP-39 field: two-horned and 22
rows long like the trace's profile, about 5 columns wide, with a faint halo; nearly all lie
right of the break.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.star import core_image, star_brightness
from soss_photcal_steps.simulate.wings import Wing, wing_image
from soss_photcal_steps.trace import DETECTOR_SIZE, trace_positions

__all__ = ["CONTAMINATION_LEVELS", "Field", "draw_field", "field_image"]

CONTAMINATION_LEVELS = ("none", "typical", "crowded")


@dataclass(frozen=True)
class Field:
    """Sources of the field.

    Attributes
    ----------
    zero_orders : ndarray, shape (n, 3)
        Column, row (of SUBSTRIP256) and peak in DN/s of each zero order.
    traces : tuple of tuple
        (order, column shift, row shift, peak in DN/s) of each dispersed field star.
    """

    zero_orders: np.ndarray
    traces: tuple[tuple[int, float, float, float], ...]


def draw_field(level: str, rng: np.random.Generator, rows: np.ndarray) -> Field:
    """Draw the sources of a field.

    Parameters
    ----------
    level : {"none", "typical", "crowded"}
        Typical has 10 to 15 zero orders per 256 rows with peaks of 1 to 100 DN/s and two
        to four faint traces.  Crowded has 50 to 110 zero orders with a steep luminosity
        function, many of them below detection, and six to ten traces with wings.
    rng : numpy.random.Generator
        Source of randomness.
    rows : ndarray
        Rows of the image, pixels of SUBSTRIP256; numbers scale with their count.

    Returns
    -------
    Field
        The drawn sources.

    Raises
    ------
    SossInputError
        If the level is not known.
    """
    if level not in CONTAMINATION_LEVELS:
        raise SossInputError(
            f"Contamination {level!r} is not one of {', '.join(CONTAMINATION_LEVELS)}."
        )
    if level == "none":
        return Field(np.zeros((0, 3)), ())
    low, high = rows[0] - 15.0, rows[-1] + 15.0
    # SUBSTRIP96 sees its own share of the sky, FULL the eightfold.
    share = (high - low) / 286.0
    crowded = level == "crowded"
    number = max(
        1, round(share * rng.integers(50, 111) if crowded else share * rng.integers(10, 16))
    )
    columns = np.where(
        rng.random(number) < 0.85,
        rng.uniform(700.0, 2060.0, number),
        rng.uniform(-10.0, 700.0, number),
    )
    if crowded:
        # N(> peak) falls as peak^-1.1 from 0.4 DN/s, cut at 300.
        peak = np.minimum(0.4 * (1 - rng.random(number)) ** (-1 / 1.1), 300.0)
    else:
        peak = np.exp(rng.uniform(0.0, np.log(100.0), number))
    zero_orders = np.column_stack([columns, rng.uniform(low, high, number), peak])
    traces = []
    for _ in range(max(1, round(share * (rng.integers(6, 11) if crowded else rng.integers(2, 5))))):
        order = int(rng.choice([1, 1, 2]))
        span = (-140.0, 200.0) if order == 1 else (-260.0, 120.0)
        shift = rng.uniform(span[0] + min(low, 0.0), span[1])
        bright = np.exp(rng.uniform(np.log(0.1), np.log(12.0 if crowded else 3.0)))
        traces.append((order, rng.uniform(-900.0, 900.0), shift, float(bright)))
    return Field(zero_orders, tuple(traces))


def field_image(field: Field, rows: np.ndarray, pwcpos: float) -> np.ndarray:
    """Light of the field's sources.

    Parameters
    ----------
    field : Field
        The sources.
    rows : ndarray, shape (n_rows,)
        Consecutive rows, pixels of SUBSTRIP256.
    pwcpos : float
        Angle of the pupil wheel, degrees.

    Returns
    -------
    ndarray, shape (n_rows, 2048)
        DN/s per pixel.
    """
    image = np.zeros((rows.size, DETECTOR_SIZE))
    columns = np.arange(DETECTOR_SIZE, dtype=float)
    for column, row, peak in field.zero_orders:
        _add_zero_order(image, rows, column, row, peak)
    for order, shift_x, shift_y, peak in field.traces:
        source = columns - shift_x
        brightness = star_brightness(order, "bright", source)
        # The core spreads the light over some 25 pixels.
        brightness = np.where(np.abs(source - 1024) < 1400, brightness, 0.0)
        brightness *= 25.0 * peak / max(brightness.max(), 1e-30)
        centre = trace_positions(order, pwcpos, np.clip(source, -100, 2147)) + shift_y
        image += core_image(order, brightness, centre, columns, int(rows[0]), rows.size)
        # Wings are followed for 250 rows, where they are below 0.01 DN/s.
        near = (rows > centre.min() - 250) & (rows < centre.max() + 250)
        if near.any():
            image[near] += wing_image(brightness, centre, columns, rows[near], Wing())
    return image


def _add_zero_order(
    image: np.ndarray, rows: np.ndarray, column: float, row: float, peak: float
) -> None:
    """Add one zero order to `image`, in place."""
    # The halo is followed until it is a few thousandths of a DN/s.
    reach = int(min(30 + 12 * np.sqrt(peak), 120))
    top = max(int(row) - reach - int(rows[0]), 0)
    bottom = min(int(row) + reach + 1 - int(rows[0]), rows.size)
    left, right = max(int(column) - reach, 0), min(int(column) + reach + 1, DETECTOR_SIZE)
    if top >= bottom or left >= right:
        return
    dy = rows[top:bottom, None] - row
    dx = np.arange(left, right)[None, :] - column
    length = 1 / (1 + np.exp((np.abs(dy) - 11.0) / 1.3))
    horns = 0.62 + 0.38 * np.exp(-0.5 * ((np.abs(dy) - 8.0) / 2.2) ** 2)
    blob = length * horns * np.exp(-0.5 * (dx / 1.9) ** 2)
    halo = 0.12 * (1 + (dx / 5.0) ** 2 + (dy / 12.0) ** 2) ** -1.4
    image[top:bottom, left:right] += peak * (blob + halo)
