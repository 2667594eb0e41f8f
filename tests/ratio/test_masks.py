"""Lines, masks and intervals, and the ratio made with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.derive import (
    RatioOptions,
    derive_order,
    fit_order,
    misfit_unit,
    typical_ratio,
)
from soss_photcal_steps.ratio.intervals import read_intervals
from soss_photcal_steps.ratio.lines import hydrogen_lines, line_mask
from soss_photcal_steps.ratio.masks import data_mask, interval_mask, known_mask
from soss_photcal_steps.ratio.mean import MeanSpectrum
from soss_photcal_steps.ratio.options import FitOptions
from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.ratio.sampling import ModelSpectrum
from soss_photcal_steps.ratio.standards import Interval, KnownObservation

X = np.linspace(0.86, 2.82, 2000)


@pytest.mark.parametrize(
    ("series", "number", "wavelength"),
    [
        ("Balmer", 0, 0.656461), ("Paschen", 0, 1.875613), ("Paschen", 1, 1.282159),
        ("Paschen", 2, 1.094109), ("Brackett", 0, 2.625871), ("Brackett", 1, 2.166120),
    ],
)  # fmt: skip
def test_lines_are_where_the_catalogues_have_them(series, number, wavelength):
    """Vacuum wavelengths agree with the NIST Atomic Spectra Database to 2e-5 um."""
    assert hydrogen_lines()[series][number] == pytest.approx(wavelength, abs=2e-5)


def test_windows_are_marked_by_series():
    """A window of 1 per cent marks Paschen beta from 1.269 to 1.295 um, and nothing at 1.35 um."""
    bits = line_mask(X, {"Paschen": 0.01})
    near = np.abs(X - 1.28216) < 0.0128
    assert (bits[near] == Mask.PASCHEN).all()
    assert bits[np.abs(X - 1.35) < 0.02].max() == 0
    assert line_mask(X, {}).max() == 0


def test_higher_lines_leave_something_between_them():
    """However wide the windows, between the higher Paschen lines some points stay free."""
    x = np.linspace(0.86, 0.95, 500)
    bits = line_mask(x, {"Paschen": 0.05})
    assert 0.5 < (bits != 0).mean() < 0.8


@given(st.floats(0.5, 2.5), st.floats(0.001, 0.5))
def test_an_interval_marks_what_is_inside(low, width):
    """Wavelengths from low to high are marked, of its own order only."""
    one = Interval(1, low, low + width)
    bits = interval_mask(X, 1, [one], Mask.USER)
    np.testing.assert_array_equal(bits != 0, (low <= X) & (low + width >= X))
    assert interval_mask(X, 2, [one], Mask.USER).max() == 0


def test_ranges_of_the_table_are_kept_to():
    """Outside the valid range, inside the excluded one, and in contamination the bits are set."""
    known = KnownObservation(
        1, 2, contamination=(Interval(1, 1.5, 1.6),), valid=(Interval(1, 0.0, 2.4),),
        excluded=(Interval(1, 1.0, 1.1),),
    )  # fmt: skip
    bits = known_mask(X, 1, known)
    assert (bits[X > 2.41] == Mask.OUT_OF_RANGE).all()
    assert (bits[(X > 1.01) & (X < 1.09)] == Mask.OUT_OF_RANGE).all()
    assert (bits[(X > 1.51) & (X < 1.59)] == Mask.CONTAMINATION).all()
    assert bits[(X > 1.7) & (X < 2.3)].max() == 0
    assert known_mask(X, 2, known).max() == 0
    assert known_mask(X, 1, None).max() == 0
    assert known_mask(X, 1, known, contamination=False, ranges=False).max() == 0


def test_bad_data_are_marked():
    """NaN, no model, few integrations, weak and negative signal each have their bit."""
    flux, error = np.full(6, 10.0), np.full(6, 1.0)
    model, used = np.full(6, 10.0), np.full(6, 20)
    flux[0], model[1], used[2], error[3], flux[4] = np.nan, np.nan, 3, 4.0, -1.0
    bits = data_mask(flux, error, model, used, 20)
    assert bits.tolist() == [
        Mask.NOT_FINITE, Mask.NO_MODEL, Mask.FEW_INTEGRATIONS, Mask.LOW_SIGNAL, Mask.LOW_SIGNAL, 0,
    ]  # fmt: skip


def test_tables_of_intervals(tmp_path):
    """CSV with and without kind is read; a wrong row is named with its number."""
    path = tmp_path / "mask.csv"
    path.write_text("order,low,high,kind,note\n1,1.5,1.6,contamination,zero order\n2,0.6,0.7,,\n")
    with pytest.raises(SossInputError, match=r"Row 2 .* kind"):
        read_intervals(path)
    path.write_text("order,low,high,note\n1,1.5,1.6,zero order\n")
    assert read_intervals(path) == [("user", Interval(1, 1.5, 1.6, "zero order"))]
    for content, sentence in (
        ("order,low\n1,2\n", "lacks the column high"),
        ("order,low,high\n4,1,2\n", "Row 1"),
        ("order,low,high\n1,2,2\n", "Row 1"),
        ("order,low,high\n1,a,2\n", "Row 1"),
        ("", "lacks the column order"),
    ):
        path.write_text(content)
        with pytest.raises(SossInputError, match=sentence):
            read_intervals(path)
    with pytest.raises(SossInputError, match="does not exist"):
        read_intervals(tmp_path / "none.csv")


def ratio_of(factor, **options):
    """Make the ratio of a spectrum that is a factor times its model."""
    model = ModelSpectrum(X, 1 + X, 0.001 * (1 + X), 0.01 * (1 + X), np.full(X.size, 0.01))
    noise = 1 + 0.001 * np.random.default_rng(0).standard_normal(X.size)
    flux = factor * (1 + X) * noise
    n_used = np.full(X.size, 10)
    mean = MeanSpectrum(X, flux, 0.001 * flux, n_used, 10)
    return derive_order(1, mean, model, RatioOptions(**options))


def test_the_ratio_is_observed_over_model():
    """A star observed 10 per cent too faint has the ratio 0.9, with the relative error kept."""
    found = ratio_of(0.9)
    assert np.median(found.ratio) == pytest.approx(0.9, rel=1e-3)
    np.testing.assert_allclose(found.ratio_error / found.ratio, 0.001, rtol=1e-6)
    np.testing.assert_allclose(found.model_sys_error / found.model, 0.01)
    fitted = fit_order(found, FitOptions())
    np.testing.assert_allclose(fitted.fit, 0.9, rtol=1e-3)
    assert np.isnan(found.fit).all()


@pytest.mark.parametrize(
    ("ratio", "unit", "fits"),
    [(1.1, "MJy", ""), (1e6, "MJy", "Jy"), (0.9e9, "MJy", "mJy"), (1e-6, "Jy", "MJy"),
     (1e3, "Jy", "mJy"), (1e-3, "mJy", "Jy"), (30.0, "MJy", ""), (float("nan"), "Jy", ""),
     (-1e6, "MJy", "")],
)  # fmt: skip
def test_the_unit_that_fits_is_found(ratio, unit, fits):
    """A typical ratio near a power of a thousand names the unit; any other does not."""
    assert misfit_unit(ratio, unit) == fits


def test_the_typical_ratio_is_that_of_the_good_points():
    """Masked points do not count, and nothing good gives NaN."""
    one = ratio_of(2.0, user=[Interval(1, 0.0, 3.0)])
    assert np.isnan(typical_ratio([one]))
    assert np.isnan(typical_ratio([]))
    assert typical_ratio([ratio_of(2.0)]) == pytest.approx(2.0, rel=1e-3)
