"""Noiseless image of the star: cores and wings of all orders."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from soss_photcal_steps.simulate.params import SceneParams
from soss_photcal_steps.simulate.star import STAR_ORDERS, core_image, star_brightness, star_rows
from soss_photcal_steps.simulate.wings import (
    Wing,
    isotropic_wing_image,
    streak_image,
    wing_image,
)
from soss_photcal_steps.trace import DETECTOR_SIZE

__all__ = ["StarLight", "star_image"]


class StarLight(Protocol):
    """A star given by its light along the traces, in the place of a level of `SceneParams`."""

    def brightness(self, order: int, columns: np.ndarray) -> np.ndarray:
        """Light within 12.5 pixels of the trace's centre.

        Parameters
        ----------
        order : {1, 2, 3, 4}
            Spectral order.
        columns : ndarray
            Columns, pixels; they may lie somewhat outside the detector.

        Returns
        -------
        ndarray
            DN/s.
        """
        ...


def star_image(
    params: SceneParams,
    rows: np.ndarray,
    wing: Wing,
    line_depths: np.ndarray | None = None,
    light: StarLight | None = None,
) -> np.ndarray:
    """Noiseless image of the star.

    Parameters
    ----------
    params : SceneParams
        Uses `star`, `filter` and `pwcpos`.
    rows : ndarray, shape (n_rows,)
        Consecutive rows, pixels of SUBSTRIP256.
    wing : Wing
        Shape of the wings.
    line_depths : ndarray, shape (9,), optional
        Depths of the spectral lines.
    light : StarLight, optional
        Another star than the level in `params`; level, filter and line depths are then not
        used.

    Returns
    -------
    ndarray, shape (n_rows, 2048)
        DN/s per pixel.
    """
    image = np.zeros((rows.size, DETECTOR_SIZE))
    if light is None and params.star == "none":
        return image
    columns = np.arange(DETECTOR_SIZE, dtype=float)
    beyond = 200
    wide = np.arange(-beyond, DETECTOR_SIZE + beyond, dtype=float)
    sources = []
    for order in STAR_ORDERS:
        centre = star_rows(order, params.pwcpos, wide)
        if light is not None:
            brightness = light.brightness(order, wide)
        else:
            brightness = star_brightness(
                order,
                params.star,
                wide,
                filter_name=params.filter,
                pwcpos=params.pwcpos,
                line_depths=line_depths,
            )
        sources.append((brightness, centre))
        inner = slice(beyond, beyond + DETECTOR_SIZE)
        b, c = brightness[inner], centre[inner]
        if not b.any():
            continue
        image += core_image(order, b, c, columns, int(rows[0]), rows.size)
        if not wing.isotropic:
            image += wing_image(b, c, columns, rows, wing)
        if order == 1 and wing.streaks:
            image += streak_image(b, c, rows, columns, wing)
    if wing.isotropic:
        image += isotropic_wing_image(sources, -beyond, rows, DETECTOR_SIZE, wing)
    return image
