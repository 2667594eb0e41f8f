"""Light that is spread along the traces, against a convolution by brute force."""

import math

import numpy as np
import pytest

from soss_photcal_steps.background.scatter import ZONE_EDGES, round_difference

STRENGTH, SLOPE = 0.02, 1.1
COLUMNS = np.arange(2048.0)
TRACE = 60 + 2e-5 * (COLUMNS - 1500) ** 2
ROWS, WANTED = np.array([0.0, 100, 180, 250]), np.arange(200, 2048, 300.0)


def bump(centre=1500.0):
    """Make a trace with light around one column, and none at the edges of the image."""
    return 1000 * np.exp(-0.5 * ((COLUMNS - centre) / 150) ** 2)


def brute_force(light, trace, zone):
    """Sum a round kernel over all points of a trace, minus the same column by column."""
    low, high = ZONE_EDGES[zone], ZONE_EDGES[zone + 1]
    projection = math.sqrt(math.pi) * math.gamma(SLOPE / 2) / math.gamma((SLOPE + 1) / 2)

    def kernel(radius):
        far = np.sqrt(1 + (radius / 500) ** 2)
        value = STRENGTH / projection * np.maximum(radius, 15) ** -(SLOPE + 1) / far
        return np.where((radius >= low) & (radius < high), value, 0)

    along = np.arange(-2000, 2000, 0.5) + 0.25
    result = np.zeros((len(ROWS), len(WANTED)))
    for i, row in enumerate(ROWS):
        for j, column in enumerate(WANTED):
            spread = (light * kernel(np.hypot(COLUMNS - column, row - trace))).sum()
            here = np.interp(column, COLUMNS, light)
            across = row - np.interp(column, COLUMNS, trace)
            result[i, j] = spread - here * kernel(np.hypot(along, across)).sum() * 0.5
    return result


@pytest.mark.parametrize("zone", [1, 2, 3])
def test_equals_a_convolution_by_brute_force(zone):
    """Each zone agrees with a direct sum over the trace to 15 per cent of its largest value."""
    found = round_difference([bump()], [TRACE], ROWS, WANTED, STRENGTH, SLOPE)[zone]
    expected = brute_force(bump(), TRACE, zone)
    assert np.abs(found - expected).max() < 0.15 * np.abs(expected).max()


def test_an_even_straight_trace_spreads_nothing():
    """Where the light does not change along the trace, round and columnwise wings agree."""
    even = np.full(2048, 1000.0)
    inner = np.arange(900, 1200, 50.0)
    found = round_difference([even], [np.full(2048, 60.0)], ROWS, inner, STRENGTH, SLOPE)
    columnwise = 1000 * STRENGTH * np.maximum(np.abs(ROWS - 60), 15)[:, None] ** -SLOPE
    for zone in (1, 2):
        assert np.abs(found[zone] / columnwise).max() < 0.03


def test_traces_add_up_and_scale():
    """Two traces give the sum of both, and the result is proportional to the strength."""
    one = round_difference([bump()], [TRACE], ROWS, WANTED, STRENGTH, SLOPE)
    two = round_difference([bump(500)], [TRACE + 90], ROWS, WANTED, STRENGTH, SLOPE)
    both = round_difference(
        [bump(), bump(500)], [TRACE, TRACE + 90], ROWS, WANTED, 2 * STRENGTH, SLOPE
    )
    # The transforms are of single precision.
    assert np.abs(both - 2 * (one + two)).max() < 3e-6 * np.abs(both).max()
    assert both.shape == (4, len(ROWS), len(WANTED))
