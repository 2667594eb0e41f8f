"""Results do not depend on how numbers lie in memory or in which order they come.

Tolerances: byte order, memory layout and the order of members change nothing that is more than
the rounding of double precision (1e-9, relative); float64 in place of float32 input changes less
than float32 can hold (1e-6); the order of integrations changes the combined image only by what a
mean of medians of chunks depends on it (a tenth of the background's own error).
"""

import dataclasses

import numpy as np
import pytest
from campaign_curves import campaign

from soss_photcal_steps.background.combine import combine_integrations
from soss_photcal_steps.background.estimate import fit_background
from soss_photcal_steps.background.templates import prepare_templates
from soss_photcal_steps.combine.combine import combine_order
from soss_photcal_steps.combine.correction import OrderCorrection
from soss_photcal_steps.photom.build import build_rows
from soss_photcal_steps.photom.table import PhotomRow
from soss_photcal_steps.ratio.derive import RatioOptions, derive_order, fit_order
from soss_photcal_steps.ratio.mean import mean_spectrum
from soss_photcal_steps.ratio.options import FitOptions
from soss_photcal_steps.ratio.sampling import ModelSpectrum
from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.trace import SUBSTRIP256_FIRST_ROW, subarray_rows, trace_positions


def swapped(array):
    """Give the same numbers in the other byte order."""
    return array.astype(array.dtype.newbyteorder())


def fortran(array):
    """Give the same numbers column by column."""
    return np.asfortranarray(array)


def strided(array):
    """Give the same numbers with holes between them."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def reversed_memory(array):
    """Give the same numbers, stored from the last to the first."""
    return np.ascontiguousarray(array[..., ::-1])[..., ::-1]


def read_only(array):
    """Give the same numbers where nobody can write."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS = [swapped, fortran, strided, reversed_memory, read_only]


def close(one, two, rtol):
    """Compare all fields that are numbers."""
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if isinstance(a, np.ndarray | float | int | np.generic):
            np.testing.assert_allclose(b, a, rtol=rtol, atol=1e-300, err_msg=field.name)


@pytest.fixture(scope="module")
def scene():
    """Give a simulated exposure of six integrations, and its library."""
    library = make_library(3, 3)
    return simulate(SceneParams(seed=4, nints=6, star="faint", template_index=1), library), library


def background(scene, library, cube=None, templates=None, convert=lambda array: array):
    """Fit the background of a series, all arrays in a given form."""
    cube = scene.sci if cube is None else cube
    combined = combine_integrations(convert(cube), convert((scene.dq & 1) > 0))
    single = np.sqrt((scene.err**2).mean(axis=0))
    span = subarray_rows("SUBSTRIP256")
    rows = np.arange(span.start, span.stop) - SUBSTRIP256_FIRST_ROW
    traces = {o: convert(trace_positions(o, 245.76)) for o in (1, 2, 3)}
    image = convert(combined.image)
    fit = fit_background(
        image, convert(single * combined.noise_factor), np.isfinite(image), rows,
        prepare_templates(convert(library.data if templates is None else templates)), traces,
    )  # fmt: skip
    return combined, fit


@pytest.fixture(scope="module")
def plain(scene):
    """Give the background of the exposure as it is."""
    return background(*scene)


@pytest.mark.parametrize("convert", LAYOUTS)
def test_background_in_any_layout(scene, plain, convert):
    """In any byte order and layout the combined image is the same, and the levels to 1e-9."""
    combined, fit = background(*scene, convert=convert)
    np.testing.assert_array_equal(combined.image, plain[0].image)
    assert fit.template == plain[1].template
    np.testing.assert_allclose(fit.levels, plain[1].levels, rtol=1e-9)
    np.testing.assert_allclose(fit.covariance, plain[1].covariance, rtol=1e-6)


def test_background_in_double_precision(scene, plain):
    """Rates and templates in double precision give the levels to 1e-5, the limit of float32."""
    series, library = scene
    _, fit = background(series, library, series.sci.astype(float), library.data.astype(float))
    assert fit.template == plain[1].template
    np.testing.assert_allclose(fit.levels, plain[1].levels, rtol=1e-5)


def test_background_in_any_order_of_integrations(scene, plain):
    """Reversed or shuffled integrations move the levels by less than 0.4 of their error."""
    # Medians of groups are averaged, and the groups are others then.
    series, library = scene
    for order in (np.arange(6)[::-1], np.random.default_rng(1).permutation(6)):
        turned = dataclasses.replace(
            series, sci=series.sci[order], dq=series.dq[order], err=series.err[order]
        )
        _, fit = background(turned, library)
        assert fit.template == plain[1].template
        error = np.sqrt(np.diag(plain[1].covariance)) * plain[1].levels / plain[1].scales
        moved = np.abs(fit.levels - plain[1].levels)
        assert (moved < 0.4 * error).all()
        assert (moved < 5e-4 * plain[1].levels).all()


@pytest.fixture(scope="module")
def series():
    """Give wavelengths, and 40 spectra with noise, outliers and gaps."""
    rng = np.random.default_rng(3)
    x = np.linspace(0.9, 2.8, 1500)
    flux = 0.02 * (1 + 0.1 * np.sin(3 * x)) * (1 + 0.005 * rng.standard_normal((40, x.size)))
    flux[3, ::50] *= 1.3
    flux[7, 100:110] = np.nan
    return x, flux, np.full_like(flux, 1e-4)


@pytest.mark.parametrize("convert", LAYOUTS)
def test_mean_in_any_layout(series, convert):
    """The mean spectrum is the same to 1e-12 in any byte order and layout."""
    close(mean_spectrum(*series), mean_spectrum(*map(convert, series)), 1e-12)


def test_mean_in_any_order(series):
    """The mean spectrum is the same to 1e-12 in any order of integrations."""
    x, flux, error = series
    order = np.random.default_rng(5).permutation(40)
    close(mean_spectrum(x, flux, error), mean_spectrum(x, flux[order], error[order]), 1e-12)


def test_mean_in_single_precision(series):
    """The mean of spectra in single precision is the same to 1e-6, its error to 1 per cent."""
    x, flux, error = series
    wide = mean_spectrum(x, flux, error)
    single = mean_spectrum(x, flux.astype("f4"), error.astype("f4"))
    np.testing.assert_allclose(single.flux, wide.flux, rtol=1e-6)
    np.testing.assert_allclose(single.error, wide.error, rtol=0.01)


def ratio(series, convert=lambda array: array):
    """Derive and fit a ratio."""
    mean = mean_spectrum(*series)
    mean = dataclasses.replace(
        mean,
        **{
            field.name: convert(getattr(mean, field.name))
            for field in dataclasses.fields(mean)
            if isinstance(getattr(mean, field.name), np.ndarray)
        },
    )
    x = np.linspace(0.8, 3.0, 8000)
    zeros = np.zeros_like(x)
    model = ModelSpectrum(convert(x), convert(np.full_like(x, 0.02)), convert(zeros), zeros)
    options = RatioOptions(windows={}, known=None, fit=FitOptions())
    return fit_order(derive_order(1, mean, model, options), options.fit)


@pytest.mark.parametrize("convert", LAYOUTS)
def test_ratio_in_any_layout(series, convert):
    """Ratio and curve are the same to 1e-9 in any byte order and layout."""
    close(ratio(series), ratio(series, convert), 1e-9)


def test_ratio_in_single_precision(series):
    """A mean in single precision gives ratio and curve to 1e-4: the bins' edges are rounded."""
    one = ratio(series)
    two = ratio(series, lambda array: array.astype("f4") if array.dtype.kind == "f" else array)
    np.testing.assert_allclose(two.ratio, one.ratio, rtol=1e-4)
    np.testing.assert_allclose(two.fit, one.fit, rtol=1e-4)


@pytest.fixture(scope="module")
def curves():
    """Give the ratio curves of a campaign."""
    return campaign(11, smooth=True)[0]


def same_combination(one, two, rtol=1e-9):
    """Compare all means and their errors."""
    np.testing.assert_array_equal(one.wavelength, two.wavelength)
    for method, mean in one.means.items():
        for name in ("value", "stat_error", "sys_error", "total_error"):
            np.testing.assert_allclose(
                getattr(two.means[method], name), getattr(mean, name),
                rtol=rtol, err_msg=f"{method} {name}",
            )  # fmt: skip


@pytest.fixture(scope="module")
def combined(curves):
    """Give the combination of the curves as they are."""
    return combine_order(curves)


def test_combination_in_any_order(curves, combined):
    """The order of the members changes no mean and no error by more than 1e-7."""
    order = np.random.default_rng(2).permutation(len(curves))
    same_combination(combined, combine_order(curves[::-1]), 1e-7)
    same_combination(combined, combine_order([curves[i] for i in order]), 1e-7)


@pytest.mark.parametrize("convert", [swapped, strided, reversed_memory, read_only])
def test_combination_in_any_layout(curves, combined, convert):
    """The combination is the same to 1e-9 in any byte order and layout."""
    changed = [
        dataclasses.replace(
            one,
            wavelength=convert(one.wavelength),
            ratio=convert(one.ratio),
            stat_error=convert(one.stat_error),
            valid=convert(one.valid),
        )
        for one in curves
    ]
    same_combination(combined, combine_order(changed))


@pytest.mark.parametrize(
    "convert", [swapped, strided, reversed_memory, read_only, lambda a: a.astype(float)]
)
def test_photom_rows_in_any_layout(convert):
    """The rows of a new photom file are bit for bit the same, in any layout and precision."""
    x = np.linspace(-1, 1, 200)
    arrays = np.zeros((3, 300), "f4")
    arrays[0, :200] = np.linspace(0.8, 3.0, 200)
    arrays[1, :200] = 0.3 * np.exp(0.4 * x + 6 * x**8)
    w = np.linspace(1, 2.5, 301)
    r, s = 1.05 + 0.01 * (w - 1), np.full(301, 0.003)

    def build(change):
        row = PhotomRow("CLEAR", "GR700XD", 1, 5.14e-5, 0.0, 200, *map(change, arrays))
        other = dataclasses.replace(row, order=2)
        return build_rows([row, other], [OrderCorrection(1, *map(change, (w, r, s, 3 * s)))]).rows

    for one, two in zip(build(np.copy), build(convert), strict=True):
        assert (one.photmj, one.uncertainty, one.nelem) == (two.photmj, two.uncertainty, two.nelem)
        for name in ("wavelength", "relresponse", "reluncertainty"):
            a, b = getattr(one, name), getattr(two, name)
            assert np.asarray(b, "f4").astype("f4").tobytes() == a.astype("f4").tobytes()


def test_rows_in_any_order():
    """The order of the rows of the old file changes no row of the new one."""
    x = np.linspace(-1, 1, 200)
    rows = [
        PhotomRow(
            "CLEAR", "GR700XD", order, 5.14e-5, 0.0, 200, np.linspace(0.8, 3.0, 200, dtype="f4"),
            (0.3 * np.exp(order * x)).astype("f4"), np.zeros(200, "f4"),
        )
        for order in (1, 2, 3)
    ]  # fmt: skip
    w = np.linspace(1, 2.5, 301)
    made = [
        OrderCorrection(order, w, np.full(301, 1.01 * order), np.full(301, 0.002), np.zeros(301))
        for order in (1, 2)
    ]
    forward = {row.order: row for row in build_rows(rows, made).rows}
    backward = {row.order: row for row in build_rows(rows[::-1], made[::-1]).rows}
    for order, row in forward.items():
        assert row.relresponse.tobytes() == backward[order].relresponse.tobytes()
        assert row.reluncertainty.tobytes() == backward[order].reluncertainty.tobytes()
