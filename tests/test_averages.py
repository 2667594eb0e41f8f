"""Averages and medians against numpy's own."""

import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from soss_photcal_steps.averages import known_median

VALUES = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(arrays(float, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=VALUES))
def test_median_of_known_values_is_that_of_numpy(values):
    """Along both axes the median equals `numpy.nanmedian`, NaN where nothing is known."""
    for axis in (0, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            expected = np.nanmedian(values, axis=axis)
        np.testing.assert_array_equal(known_median(values, axis), expected)
