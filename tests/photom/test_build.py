import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.combine.correction import OrderCorrection
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.build import build_rows, intervals
from soss_photcal_steps.photom.table import PhotomRow


def row(n=200, width=300, order=1, low=0.8, high=3.0, filter_name="CLEAR", photmj=5.14e-5):
    """Make a row whose response is a bowl that reaches 7e4 at the ends."""
    x = np.linspace(-1, 1, n)
    arrays = np.zeros((3, width), "f4")
    arrays[0, :n] = np.linspace(low, high, n)
    arrays[1, :n] = 0.3 * np.exp(0.4 * x + 12 * x**8)
    return PhotomRow(filter_name, "GR700XD", order, float(np.float32(photmj)), 0.0, n, *arrays)


def flat(order=1, low=1.0, high=2.5, ratio=1.05, stat=0.003, sys=0.01, **other):
    """Make a correction that rises a little from a value."""
    wavelength = np.linspace(low, high, 301)
    values = ratio + 0.01 * (wavelength - low)
    return OrderCorrection(
        order, wavelength, values, np.full(301, stat), np.full(301, sys), **other
    )


def bits(row):
    """Give all that a row holds as bytes."""
    return (
        row.filter, row.pupil, row.order, row.photmj, row.uncertainty, row.nelem,
        row.wavelength.tobytes(), row.relresponse.tobytes(), row.reluncertainty.tobytes(),
    )  # fmt: skip


def test_response_is_divided_by_the_ratio():
    """Inside the measured range the new response is old over R, photmj and wavelengths as old."""
    old, made = row(), flat()
    (new,) = build_rows([old], [made]).rows
    w = old.wavelength[:200].astype(float)
    inside = (w >= 1.0) & (w <= 2.5)
    ratio = 1.05 + 0.01 * (w - 1.0)
    expected = (old.relresponse[:200] / ratio)[inside]
    np.testing.assert_allclose(new.relresponse[:200][inside], expected, rtol=1e-7)
    assert new.photmj == old.photmj and new.nelem == old.nelem
    assert new.wavelength.tobytes() == old.wavelength.tobytes()


def test_ends_keep_the_old_shape_and_join():
    """Outside the measured range new over old is the constant 1 / R of the end on that side."""
    old = row()
    result = build_rows([old], [flat()])
    quotient = (result.rows[0].relresponse[:200] / old.relresponse[:200]).astype(float)
    w = old.wavelength[:200]
    np.testing.assert_allclose(quotient[w < 1.0], 1 / 1.05, rtol=2e-7)
    np.testing.assert_allclose(quotient[w > 2.5], 1 / 1.065, rtol=2e-7)
    assert np.max(np.abs(np.diff(quotient))) < 1.5e-4
    (change,) = result.changes
    assert change.kept_below == (pytest.approx(0.8), pytest.approx(w[w < 1.0][-1]))
    assert change.kept_above == (pytest.approx(w[w > 2.5][0]), pytest.approx(3.0))
    assert change.edge_ratios == (pytest.approx(1.05, abs=2e-4), pytest.approx(1.065, abs=2e-4))


def test_errors_add_up_to_the_whole():
    """The two error columns, as fractions in quadrature, are the whole error, and 100 % outside."""
    made = flat(stat=0.003, sys=0.02, scale_error=0.012)
    (new,) = build_rows([row()], [made]).rows
    grey = new.uncertainty / new.photmj
    assert grey == pytest.approx(0.012, rel=1e-6)
    w, fraction = new.wavelength[:200], (new.reluncertainty / np.maximum(new.relresponse, 1e-30))
    inside = (w >= 1.0) & (w <= 2.5)
    whole = np.hypot(fraction[:200], grey)
    np.testing.assert_allclose(whole[inside], np.hypot(0.003, 0.02), rtol=1e-5)
    np.testing.assert_allclose(whole[~inside], 1.0, rtol=1e-5)
    assert not np.any(new.reluncertainty[200:])


def test_common_error_is_the_smallest_systematic_one_by_default():
    """Without a scale error, uncertainty is photmj times the smallest systematic error."""
    wavelength = np.linspace(1.0, 2.5, 11)
    made = OrderCorrection(
        1, wavelength, np.ones(11), np.full(11, 0.001), np.linspace(0.02, 0.008, 11)
    )
    (new,) = build_rows([row()], [made], outside_error=0.5).rows
    assert new.uncertainty == pytest.approx(5.14e-5 * 0.008, rel=1e-6)
    at_end = new.reluncertainty[0] / new.relresponse[0]
    assert np.hypot(at_end, 0.008) == pytest.approx(0.5, rel=1e-5)


def test_other_rows_are_copied_bit_for_bit():
    """Rows without a correction keep every bit, even ones that mean nothing."""
    third = row(order=3)
    third.relresponse[0] = np.nan
    others = [third, row(filter_name="F277W")]
    old = [row(), row(order=2), *others]
    before = [bits(item) for item in old]
    result = build_rows(old, [flat()])
    assert [bits(item) for item in result.rows[1:]] == before[1:]
    assert [change.derived for change in result.changes] == [True, False, False, False]
    assert [bits(item) for item in old] == before


def test_new_grid():
    """A new grid sets nelem and padding, also beyond the old width, and keeps the response."""
    old, made = row(), flat()
    grid = np.linspace(0.9, 2.9, 500)
    (new,) = build_rows([old], [made], grids={1: grid}).rows
    assert new.nelem == 500 and new.wavelength.size == 500
    np.testing.assert_array_equal(new.wavelength, grid.astype("f4"))
    w = new.wavelength.astype(float)
    expected = np.interp(w, old.wavelength[:200], old.relresponse[:200])
    expected = expected / np.interp(w, made.wavelength, made.correction)
    np.testing.assert_allclose(new.relresponse, expected, rtol=1e-6)
    (short,) = build_rows([old], [made], grids={1: grid[:100]}).rows
    assert short.nelem == 100 and short.wavelength.size == 300
    for values in (short.wavelength, short.relresponse, short.reluncertainty):
        assert np.all(values[:100] > 0) and not np.any(values[100:])


def test_exploding_ends_are_named():
    """Where the old fit runs wild at the ends, the record gives the ranges and the top value."""
    (change,) = build_rows([row()], [flat()]).changes
    (low, below), (above, high) = change.exploding
    assert low == pytest.approx(0.8) and high == pytest.approx(3.0)
    assert below < 1.0 and above > 2.5
    assert change.largest == pytest.approx(0.3 * np.exp(12.4) / 1.065, rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    ratio=st.floats(1e-3, 1e3), low=st.floats(0.5, 2.0), width=st.floats(0.4, 2.0),
    stat=st.floats(0, 10), sys=st.floats(0, 10), photmj=st.floats(1e-12, 1e-2),
)  # fmt: skip
def test_result_is_always_positive_and_finite(ratio, low, width, stat, sys, photmj):
    """Whatever the correction, photmj * relresponse is positive and finite, and padding is 0."""
    made = flat(low=low, high=low + width, ratio=ratio, stat=stat, sys=sys)
    (new,) = build_rows([row(photmj=photmj)], [made]).rows
    product = np.float32(new.photmj) * new.relresponse[: new.nelem]
    assert np.all(np.isfinite(product)) and np.all(product > 0)
    errors = new.reluncertainty[: new.nelem]
    assert np.all(np.isfinite(errors)) and np.all(errors >= 0)
    assert not np.any(new.relresponse[new.nelem :])


def test_overflow_is_refused():
    """A result that single precision cannot hold is refused with a sentence, without a warning."""
    made = flat(ratio=1e-38)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SossInputError, match="would not be positive and finite"):
            build_rows([row()], [made])


def test_intervals():
    """Neighbouring points that fulfil a condition make one range, at the ends as well."""
    x = np.arange(6.0)
    where = np.array([True, True, False, True, False, True])
    assert intervals(x, where) == ((0.0, 1.0), (3.0, 3.0), (5.0, 5.0))
    assert intervals(x, np.zeros(6, bool)) == ()


BAD = {
    "no row": (lambda: [flat(order=4)], {}, "no rows for CLEAR/GR700XD order 4"),
    "two corrections": (lambda: [flat(), flat()], {}, "two corrections"),
    "no overlap": (lambda: [flat(low=3.5, high=4.0)], {}, "covers 3.5000 to 4.0000 um"),
    "grid beyond": (lambda: [flat()], {"grids": {1: [0.7, 2.0]}}, "goes beyond the old response"),
    "grid falling": (lambda: [flat()], {"grids": {1: [2.0, 1.0]}}, "does not rise strictly"),
    "grid of another order": (lambda: [flat()], {"grids": {3: [1.0, 2.0]}}, "keeps its own"),
    "grid of a point": (lambda: [flat()], {"grids": {1: [1.0]}}, "needs 2 to 32767 elements"),
    "outside error": (lambda: [flat()], {"outside_error": 0.0}, "must be positive and finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    """What cannot be applied is refused with a sentence that names row and reason."""
    make, options, message = BAD[case]
    with pytest.raises(SossInputError, match=message):
        build_rows([row(), row(order=3)], make(), **options)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("relresponse", np.nan, "not positive and finite"),
        ("relresponse", -1.0, "not positive and finite"),
        ("wavelength", 2.9, "do not rise strictly"),
    ],
)
def test_bad_old_row_is_refused(name, value, message):
    """A row to be corrected that holds nonsense is refused, not passed on."""
    old = row()
    getattr(old, name)[50] = value
    with pytest.raises(SossInputError, match=message):
        build_rows([old], [flat()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wavelength": np.array([1.0, 1.0, 2.0])}, "rise strictly"),
        ({"correction": np.array([1.0, np.nan, 1.0])}, "not positive numbers"),
        ({"correction": np.array([1.0, 0.0, 1.0])}, "not positive numbers"),
        ({"stat_error": np.array([0.1, -0.1, 0.1])}, "stat_error must be finite"),
        ({"sys_error": np.array([0.1, np.inf, 0.1])}, "sys_error must be finite"),
        ({"sys_error": np.array([0.1, 0.1])}, "arrays of one length"),
        ({"scale_error": -1.0}, "scale_error must be finite"),
    ],
)
def test_bad_correction_is_refused(change, message):
    """A correction with values that cannot be measured ones is refused, naming its order."""
    good = {
        "order": 2, "wavelength": np.array([1.0, 1.5, 2.0]), "correction": np.ones(3),
        "stat_error": np.zeros(3), "sys_error": np.zeros(3),
    }  # fmt: skip
    with pytest.raises(SossInputError, match=f"order 2.*{message}"):
        OrderCorrection(**{**good, **change})
