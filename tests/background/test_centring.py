"""Centres of the traces, on images whose traces lie where the test put them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.background.centring import centred_traces, trace_offsets

NY, NX = 256, 2048
COLUMNS = np.arange(NX)
LINES = np.arange(float(NY))
# Order 1 bends as the real one does; order 2 crosses the image far enough from it.
EXPECTED = {1: 70 + 30 * (1 - COLUMNS / 1024) ** 2, 2: 215 - 0.02 * COLUMNS}
LIGHT = {1: 3000 + 2000 * np.sin(COLUMNS / 500), 2: np.full(NX, 900.0)}
ERROR = np.full((NY, NX), 0.3, np.float32)


def profile(away):
    """Two horns, a floor between them and wings as r^-1.2, of about unit sum."""
    horns = np.exp(-0.5 * ((away - 8) / 2) ** 2) + np.exp(-0.5 * ((away + 8) / 2) ** 2)
    core = 0.05 * horns + 0.03 * (np.abs(away) < 9)
    return core + 0.014 * np.maximum(np.abs(away), 12) ** -1.2


def image_of(traces, noise=0.3, seed=0):
    """Light of all traces on a level of 2.5 DN/s, with noise."""
    rows = {order: np.broadcast_to(row, NX) for order, row in traces.items()}
    light = sum(LIGHT[o] * profile(LINES[:, None] - row) for o, row in rows.items())
    return light + 2.5 + np.random.default_rng(seed).normal(0, noise, (NY, NX))


def test_shifted_and_turned_traces_are_found():
    """Offsets of up to a pixel that change along the columns come back to 0.15 pixels."""
    true = {1: 0.7 + 0.3 * (COLUMNS / 1024 - 1), 2: -0.8 + 0.1 * (COLUMNS / 1024 - 1)}
    image = image_of({o: EXPECTED[o] + true[o] for o in true})
    good = np.random.default_rng(1).random(image.shape) > 0.02
    image[~good] = np.nan
    found = trace_offsets(image, ERROR, good, LINES, EXPECTED)
    for order, offset in true.items():
        np.testing.assert_allclose(found[order], offset, atol=0.15)
    moved = centred_traces(EXPECTED, found)
    np.testing.assert_allclose(moved[1], EXPECTED[1] + true[1], atol=0.15)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(-2, 2), st.floats(0.1, 30.0))
def test_offsets_follow_the_rows_and_not_the_light(shift, factor):
    """Rows counted from elsewhere move the offset by as much, to 0.06; brightness does not."""
    image, good = image_of({1: EXPECTED[1]}), np.ones((NY, NX), bool)
    once = trace_offsets(image, ERROR, good, LINES, {1: EXPECTED[1]})[1]
    other = trace_offsets(factor * image, factor * ERROR, good, LINES + shift, {1: EXPECTED[1]})[1]
    np.testing.assert_allclose(other - once, shift, atol=0.06)


def test_hot_columns_and_a_field_star_on_the_trace_are_outliers():
    """A star on 60 columns and bright single columns move the offset by less than 0.1 pixels."""
    image, good = image_of({1: EXPECTED[1]}), np.ones((NY, NX), bool)
    image[np.ix_(np.arange(75, 90), np.arange(1500, 1560))] += 500.0
    image[90:, ::97] += 80.0
    found = trace_offsets(image, ERROR, good, LINES, {1: EXPECTED[1]})[1]
    np.testing.assert_allclose(found, 0.0, atol=0.1)


def test_without_light_nothing_moves():
    """In noise no trace is seen, and the expected rows come back."""
    image = np.random.default_rng(0).normal(2.5, 0.3, (NY, NX))
    good = np.ones(image.shape, bool)
    found = trace_offsets(image, ERROR, good, LINES, EXPECTED)
    assert found == {}
    moved = centred_traces(EXPECTED, found)
    for order, rows in EXPECTED.items():
        np.testing.assert_array_equal(moved[order], rows)


def test_an_unseen_order_moves_with_the_others():
    """An order outside the image gets the mean offset of the one that is seen."""
    image = image_of({1: EXPECTED[1] + 0.6})
    expected = {1: EXPECTED[1], 2: np.full(NX, 400.0)}
    found = trace_offsets(image, ERROR, np.ones(image.shape, bool), LINES, expected)
    moved = centred_traces(expected, found)
    np.testing.assert_allclose(moved[2] - 400.0, 0.6, atol=0.05)


@pytest.mark.parametrize("shift", [-9.0, 9.0])
def test_a_trace_far_from_where_it_should_be_is_not_followed(shift):
    """Nine pixels off is no error of pointing: the offset is given up."""
    image = image_of({1: EXPECTED[1] + shift})
    assert trace_offsets(image, ERROR, np.ones(image.shape, bool), LINES, {1: EXPECTED[1]}) == {}
