"""Where the bins of an image lie with respect to the traces, and how bright these are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soss_photcal_steps.background.light import INNER, TraceLight, reference_wing
from soss_photcal_steps.background.scatter import ZONE_EDGES, round_difference
from soss_photcal_steps.background.sky import Sky

__all__ = ["NODES", "WingField", "wing_field"]

# Distances of the hat functions' nodes, pixels: equal steps in the logarithm.
NODES = np.array(
    [INNER, 17.0, 22.5, 30.0, 40.0, 55.0, 75.0, 105.0, 150.0, 220.0, 330.0, 600.0, 1200.0, 2400.0]
)


@dataclass(frozen=True)
class WingField:
    """Geometry of the wings on the bins: nodes, weights and brightness per order."""

    lights: tuple[TraceLight, ...]
    node: np.ndarray
    part: np.ndarray
    above: np.ndarray
    distance: np.ndarray
    light: np.ndarray
    spread: np.ndarray
    reference: np.ndarray
    outside: tuple[tuple[int, np.ndarray], ...]
    sources: np.ndarray | None = None


def wing_field(
    sky: Sky,
    lights: list[TraceLight],
    far: tuple[float, float] | None = None,
    sources: np.ndarray | None = None,
    like: WingField | None = None,
) -> WingField:
    """Where each bin lies with respect to the traces.

    Parameters
    ----------
    sky : Sky
        The binned image.
    lights : list of TraceLight
        The traces.
    far : tuple of float, optional
        Strength and slope of the wing beyond 30 pixels, as known so far; light spread
        along the dispersion is left out where they are not given.
    sources : ndarray, optional
        Light of other sources in the bins that are masked for them, DN/s per pixel.
    like : WingField, optional
        The same traces with another brightness, whose distances are taken over.

    Returns
    -------
    WingField
        Nodes and weights of the hat functions for every bin and order.
    """
    at = np.clip(np.rint(sky.columns).astype(int), 0, None)
    node, part, above, distance, reference = (
        _distances(sky, lights, at)
        if like is None
        else (like.node, like.part, like.above, like.distance, like.reference)
    )
    light = np.array([item.brightness[at] for item in lights])
    outside = [(k, shape[at]) for k, item in enumerate(lights) for shape in _hidden_shapes(item)]
    spread = np.zeros((len(ZONE_EDGES) - 1, *sky.value.shape))
    if far is not None:
        spread = round_difference(
            [item.brightness for item in lights], [item.rows for item in lights],
            sky.rows, sky.columns, *far,
        )  # fmt: skip
    return WingField(
        tuple(lights), node, part, above, distance, light, spread,
        reference, tuple(outside),
        None if sources is None else _source_wings(sky, sources),
    )  # fmt: skip


def _distances(
    sky: Sky, lights: list[TraceLight], at: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Node below, part of the way to the next, side, distance and reference wing of each bin."""
    shape = (len(lights), *sky.value.shape)
    node, part = np.empty(shape, np.int16), np.empty(shape, np.float32)
    above, distance = np.empty(shape, bool), np.empty(shape, np.float32)
    log_nodes = np.log(NODES)
    for k, item in enumerate(lights):
        offset = sky.rows[:, None] - item.rows[at][None, :]
        distance[k] = np.abs(offset)
        above[k] = offset > 0
        position = np.interp(
            np.log(np.maximum(distance[k], NODES[0])), log_nodes, np.arange(len(NODES))
        )
        node[k] = np.minimum(position.astype(np.int16), len(NODES) - 2)
        part[k] = position - node[k]
    return node, part, above, distance, reference_wing(distance)


def _source_wings(sky: Sky, sources: np.ndarray) -> np.ndarray:
    """Wings across the dispersion of the light in masked bins."""
    # A line of bins stands for the rows up to the middle between it and the next.
    rows = np.gradient(sky.rows)
    kernel = reference_wing(np.abs(sky.rows[:, None] - sky.rows)) * rows
    return np.maximum(kernel @ sources, 0.0)


def _hidden_shapes(light: TraceLight) -> list[np.ndarray]:
    """Relative changes of a trace's brightness outside the image: hats along the columns."""
    hidden = ~light.measured & (light.brightness > 1e-3 * max(light.brightness.max(), 1e-30))
    columns = np.arange(len(hidden))
    shapes = []
    for run in np.split(columns[hidden], np.flatnonzero(np.diff(columns[hidden]) > 1) + 1):
        if len(run) < 12:
            continue
        count = int(np.clip(len(run) // 60, 2, 5))
        nodes = np.linspace(run[0], run[-1], count)
        for k in range(count):
            shapes.append(np.interp(columns, nodes, np.eye(count)[k]) * hidden)
    return shapes
