"""The fit of one image on simulated scenes, whose background is known."""

import dataclasses

import numpy as np
import pytest

from soss_photcal_steps.background.combine import combine_integrations
from soss_photcal_steps.background.conclude import SMALLEST_ERROR
from soss_photcal_steps.background.estimate import FitError, FitOptions, fit_background
from soss_photcal_steps.background.templates import prepare_templates
from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.simulate.field import Field
from soss_photcal_steps.simulate.library import BreakShape, right_fraction
from soss_photcal_steps.simulate.scene import make_exposure
from soss_photcal_steps.trace import SUBSTRIP256_FIRST_ROW, subarray_rows, trace_positions


@dataclasses.dataclass
class Case:
    """One combined image with its truth, and what the fit needs."""

    image: np.ndarray
    error: np.ndarray
    rows: np.ndarray
    traces: dict
    truth: object

    def fit(self, templates, options=None, **changes):
        """Fit the image, or one in which something is changed."""
        c = dataclasses.replace(self, **changes)
        return fit_background(
            c.image, c.error, np.isfinite(c.image), c.rows, templates, c.traces, options
        )

    def biases(self, templates, fit):
        """Mean difference from the truth left and right of the break, per cent."""
        difference = templates.background(fit.weights, fit.tilt) - self.truth.background
        share = self.truth.right_fraction
        return np.array(
            [
                100 * np.nanmean(difference[m]) / self.truth.background[m].mean()
                for m in (share < 0.01, share > 0.99)
            ]
        )


@pytest.fixture(scope="module")
def libraries():
    """Give the simulated library of each subarray."""
    return {s: make_library(8, 3, subarray=s) for s in ("SUBSTRIP256", "SUBSTRIP96")}


@pytest.fixture(scope="module")
def prepared(libraries):
    """Give the libraries as the fit needs them."""
    return {name: prepare_templates(library.data) for name, library in libraries.items()}


@pytest.fixture(scope="module")
def templates(prepared):
    """Give the library of SUBSTRIP256."""
    return prepared["SUBSTRIP256"]


@pytest.fixture(scope="module")
def case(libraries):
    """Give a function that simulates and combines a scene, once for the same parameters."""
    known = {}

    def make(star, seed, orders=(1, 2, 3), **more):
        params = SceneParams(star=star, seed=seed, **{"nints": 5, **more})
        if params not in known:
            scene = simulate(params, libraries[params.subarray])
            combined = combine_integrations(scene.sci, (scene.dq & 1) > 0)
            single = np.sqrt((scene.err**2).mean(axis=0))
            span = subarray_rows(params.subarray)
            rows = np.arange(span.start, span.stop) - SUBSTRIP256_FIRST_ROW
            traces = {o: trace_positions(o, params.pwcpos) for o in orders}
            known[params] = Case(
                combined.image, single * combined.noise_factor, rows, traces, scene.truth
            )
        return known[params]

    return make


@pytest.mark.parametrize(("star", "limit"), [("bright", 1.0), ("mid", 0.5), ("faint", 0.5)])
@pytest.mark.parametrize("seed", [1, 2])
def test_bias_and_error(case, templates, star, seed, limit):
    """With field stars the bias is below its limit on either side, and below four stated errors."""
    scene = case(star, seed)
    fit = scene.fit(templates)
    bias = scene.biases(templates, fit)
    assert np.abs(bias).max() < limit
    error = 100 * np.sqrt(np.diag(fit.covariance)) / fit.scales
    assert (np.abs(bias) < 4 * error).all()
    assert (error < 1.5).all()
    assert (error > 100 * SMALLEST_ERROR).all()
    assert fit.probability.sum() == pytest.approx(1)
    assert 0.5 < fit.chi_square < 3
    assert (fit.sky_fraction > 0.05).all()
    assert (fit.sky_fraction < 1).all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_image_of_one_value_is_refused(case, templates, value):
    """An image whose pixels all have one value is refused with that value."""
    scene = case("faint", 1)
    with pytest.raises(FitError, match=f"have the same value, {value:g} DN/s"):
        scene.fit(templates, image=np.full_like(scene.image, value))


@pytest.mark.parametrize("seed", [1, 2])
def test_true_template_is_found_with_its_scales(case, templates, seed):
    """For a mid star the right template is ranked first, with scales right to 0.6 per cent."""
    scene = case("mid", seed)
    fit = scene.fit(templates)
    assert fit.template == scene.truth.template_index == np.argmax(fit.log_evidence)
    truth = [scene.truth.scale_left, scene.truth.scale_right]
    np.testing.assert_allclose(fit.scales, truth, rtol=6e-3)
    others = np.delete(fit.cost, fit.template)
    assert (others > fit.cost[fit.template]).all()


@pytest.mark.parametrize("star", ["mid", "faint"])
@pytest.mark.parametrize("ratio", [0.8, 1.2])
def test_sides_of_very_different_scales(case, templates, star, ratio):
    """With scales that differ by a fifth the bias stays below 0.2 per cent, at the break too."""
    scene = case(star, 5, side_ratio=ratio, contamination="none", noise=False)
    fit = scene.fit(templates)
    assert np.abs(scene.biases(templates, fit)).max() < 0.2
    near = slice(690, 800)
    ratio = (templates.background(fit.weights, fit.tilt) / scene.truth.background)[10:240, near]
    assert np.abs(100 * (ratio.mean(axis=0) - 1)).max() < 0.35


@pytest.mark.parametrize(
    "shape", [BreakShape(tail_fraction=0), BreakShape(tail=50, tail_fraction=0.5)]
)
@pytest.mark.parametrize(("star", "limit"), [("mid", 0.25), ("faint", 0.1)])
def test_edge_of_another_profile(case, templates, star, limit, shape):
    """Scales that change by a tenth over a sharper or wider edge are still right to the limit."""
    scene = case(star, 6, side_ratio=0.9, contamination="none", noise=False)
    truth = scene.truth
    share = right_fraction(scene.rows, np.arange(2048.0), shape)
    scales = truth.scale_left + (truth.scale_right - truth.scale_left) * share
    background = truth.template * scales
    changed = dataclasses.replace(
        scene, image=scene.image + background - truth.background,
        truth=dataclasses.replace(truth, background=background),
    )  # fmt: skip
    assert np.abs(changed.biases(templates, changed.fit(templates))).max() < limit


def test_wings_of_a_bright_field_star_are_no_background(templates, libraries):
    """A trace of 100 DN/s of another star, masked, changes the levels by less than 0.3 per cent."""
    params = SceneParams(star="faint", seed=1, nints=5)
    others = Field(np.zeros((0, 3)), ((1, 0.0, 110.0, 100.0),))
    exposure = make_exposure(params, libraries["SUBSTRIP256"], sources=others)
    frames = list(exposure.integrations())
    sci, err = np.array([f.sci for f in frames]), np.array([f.err for f in frames])
    combined = combine_integrations(sci, np.array([f.dq for f in frames]) & 1 > 0)
    error = np.sqrt((err**2).mean(axis=0)) * combined.noise_factor
    traces = {o: trace_positions(o, params.pwcpos) for o in (1, 2, 3)}
    scene = Case(combined.image, error, np.arange(256.0), traces, exposure.truth)
    fit = scene.fit(templates)
    assert fit.template == exposure.truth.template_index
    assert np.abs(scene.biases(templates, fit)).max() < 0.3


def test_template_that_is_asked_for_is_used(case, templates):
    """A fixed template is used alone, also where another fits better."""
    scene = case("mid", 1)
    wrong = (scene.truth.template_index + 1) % 8
    fit = scene.fit(templates, FitOptions(template=wrong))
    assert fit.template == wrong
    assert not fit.combined
    assert fit.tilt is None
    assert np.flatnonzero(fit.weights.any(axis=1)).tolist() == [wrong]
    np.testing.assert_allclose(fit.weights[wrong], fit.scales)
    free = scene.fit(templates)
    assert free.log_evidence[wrong] < free.log_evidence.max() - 10


def test_true_template_alone_is_enough(case, libraries):
    """With the true template as the only one the bias is below half a per cent."""
    scene = case("mid", 1)
    one = prepare_templates(libraries["SUBSTRIP256"].data[[scene.truth.template_index]])
    fit = scene.fit(one)
    assert np.abs(scene.biases(one, fit)).max() < 0.5
    assert fit.template == 0
    assert not fit.combined


def test_two_templates(case, libraries):
    """Of two templates the true one is preferred, and the wrong one costs more."""
    scene = case("mid", 1)
    true = scene.truth.template_index
    pair = prepare_templates(libraries["SUBSTRIP256"].data[[(true + 1) % 8, true]])
    fit = scene.fit(pair)
    assert fit.template == 1
    assert fit.cost[0] > fit.cost[1]
    assert np.abs(scene.biases(pair, fit)).max() < 0.5


def test_shape_outside_the_library_is_combined(case, templates):
    """A shape that no template has is fitted by a combination, within 1 per cent."""
    scene = case("faint", 2, background="outside", contamination="none")
    fit = scene.fit(templates)
    assert fit.combined
    assert fit.tilt is not None
    assert fit.probability[-1] > 0.9
    assert fit.combination_gain > 20
    combined = np.abs(scene.biases(templates, fit)).max()
    assert combined < 1.0
    single = scene.fit(templates, FitOptions(combine="never"))
    assert not single.combined
    assert single.combination_gain == -np.inf


def test_combination_can_be_asked_for(case, templates):
    """With 'always' the combination has all the probability and is as good as the template."""
    scene = case("faint", 1)
    fit = scene.fit(templates, FitOptions(combine="always"))
    assert fit.combined
    assert fit.probability[-1] == 1
    assert np.abs(scene.biases(templates, fit)).max() < 1.0


def test_templates_of_other_shapes_fit_worse(case, libraries):
    """Beside the true template, those of another library have less evidence by 10 or more."""
    scene = case("mid", 1)
    images = np.concatenate([libraries["SUBSTRIP256"].data, make_library(4, 77).data])
    fit = scene.fit(prepare_templates(images))
    assert fit.template == scene.truth.template_index
    assert fit.log_evidence[8:].max() < fit.log_evidence.max() - 10


@pytest.mark.parametrize(("side", "name"), [(slice(0, 760), "left"), (slice(640, 2048), "right")])
def test_side_without_sky_is_refused(case, templates, side, name):
    """An image with NaN on one side of the break is refused, and the side is named."""
    image = case("mid", 1).image.copy()
    image[:, side] = np.nan
    with pytest.raises(FitError, match=f"sky pixels are left {name} of the break"):
        case("mid", 1).fit(templates, image=image)


def test_negative_background_is_refused(case, templates):
    """An image from which twice the background was taken is refused."""
    scene = case("faint", 1)
    image = scene.image - 2 * scene.truth.background
    with pytest.raises(FitError, match="is negative"):
        scene.fit(templates, image=image)


def test_no_iteration_is_refused(case, templates):
    """Settings without any round of the fit are an error."""
    with pytest.raises(ValueError, match="at least one iteration"):
        case("mid", 1).fit(templates, FitOptions(iterations=0))


@pytest.mark.parametrize("star", ["mid", "faint"])
def test_substrip96(case, prepared, star):
    """In SUBSTRIP96, where orders 2 and 3 are partly outside, the bias is below 1.5 per cent."""
    scene = case(star, 1, subarray="SUBSTRIP96")
    fit = scene.fit(prepared["SUBSTRIP96"])
    assert np.abs(scene.biases(prepared["SUBSTRIP96"], fit)).max() < 1.5
    assert fit.sky_mask.shape == (96, 512)


def test_f277w_with_order_1_only(case, templates):
    """With F277W and one trace the bias is below 1.5 per cent."""
    scene = case("bright", 1, orders=(1,), filter="F277W", contamination="none")
    fit = scene.fit(templates)
    assert np.abs(scene.biases(templates, fit)).max() < 1.5


def test_templates_with_holes(case, libraries, templates):
    """NaN in a hundredth of the templates' pixels changes the levels by less than 0.3 per cent."""
    data = libraries["SUBSTRIP256"].data.copy()
    data[np.random.default_rng(0).random(data.shape) < 0.001] = np.nan
    scene = case("mid", 1)
    fit, clean = scene.fit(prepare_templates(data)), scene.fit(templates)
    assert fit.template == clean.template
    np.testing.assert_allclose(fit.levels, clean.levels, rtol=3e-3)


def test_arguments_are_not_edited_and_double_precision_agrees(case, templates):
    """Image and error stay as they are, and float64 gives the scales of float32 to 1e-3."""
    scene = case("mid", 1)
    image, error = scene.image.copy(), scene.error.copy()
    single = scene.fit(templates)
    double = scene.fit(templates, image=image.astype(float), error=error.astype(float))
    np.testing.assert_array_equal(scene.image, image)
    np.testing.assert_array_equal(scene.error, error)
    np.testing.assert_allclose(double.scales, single.scales, rtol=1e-3)


def test_the_fit_is_proportional_to_the_light(case, templates):
    """Three times the light with three times the error has three times the scales."""
    scene = case("mid", 1)
    once = scene.fit(templates)
    more = scene.fit(templates, image=3 * scene.image, error=3 * scene.error)
    np.testing.assert_allclose(more.scales, 3 * once.scales, rtol=1e-3)


def test_field_stars_are_masked_in_the_fit(case, templates):
    """The bins used hold less than a tenth of the mean light of the field that others hold."""
    scene = case("faint", 2, contamination="crowded")
    fit = scene.fit(templates)
    field = scene.truth.field.reshape(256, 512, 4).mean(axis=2)
    assert field[fit.sky_mask].mean() < 0.1 * field[~fit.sky_mask].mean()
    assert (fit.unseen >= 0).all()


@pytest.mark.parametrize("star", ["bright", "mid"])
def test_traces_that_are_expected_a_pixel_off_are_centred(case, templates, star):
    """With all traces expected 0.9 pixels too low the levels change by less than 0.5 per cent."""
    scene = case(star, 1, contamination="none")
    right = scene.fit(templates)
    low = scene.fit(templates, traces={o: rows - 0.9 for o, rows in scene.traces.items()})
    np.testing.assert_allclose(low.levels, right.levels, rtol=5e-3)
    for order in (1, 2):
        moved = low.trace_offsets[order] - right.trace_offsets[order]
        assert moved == pytest.approx(0.9, abs=0.1)
        assert abs(right.trace_offsets[order]) < 0.2


def test_mixture_of_a_library_of_many_shapes(case, libraries):
    """Two of 16 templates that differ in 7 ways a side are combined, to 0.2 and 0.4 per cent."""
    rng = np.random.default_rng(4)
    mean = libraries["SUBSTRIP256"].data[0]
    x, y = (np.arange(2048) - 1024) / 1024, (np.arange(256)[:, None] - 128) / 128
    shapes = [x + 0 * y, y + 0 * x, x**2 + 0 * y, y**2 + 0 * x, x * y, x**2 * y, x * y**2]
    scene = case("faint", 1, contamination="none")
    side = scene.truth.right_fraction
    library = np.array(
        [
            mean * (1 + sum(0.06 * (a * (1 - side) + b * side) * s for a, b, s in
                            zip(rng.normal(size=7), rng.normal(size=7), shapes, strict=True)))
            for _ in range(16)
        ]
    )  # fmt: skip
    truth = 0.6 * library[2] + 0.4 * library[5]
    image = scene.image - scene.truth.background + truth
    prepared = prepare_templates(library)
    fit = scene.fit(prepared, image=image)
    assert fit.combined
    off = prepared.background(fit.weights, fit.tilt) / truth - 1
    for here, limit in ((side < 0.01, 2e-3), (side > 0.99, 4e-3)):
        assert abs(np.nanmean(off[here])) < limit
        assert np.nanstd(off[here]) < 4e-3


def test_sources_that_cover_the_sky_are_masked_less(case, templates):
    """Where the mask of sources leaves too little sky, only brighter ones are masked."""
    scene = case("faint", 2, contamination="crowded")
    usual = scene.fit(templates)
    right = np.arange(512) > 180
    n_right = 8 * int(usual.sky_mask[::2, right].sum())
    fit = scene.fit(templates, FitOptions(min_pixels=n_right + 4000))
    assert (fit.sky_fraction >= usual.sky_fraction).all()
    assert fit.sky_fraction[1] > usual.sky_fraction[1]
    assert np.abs(scene.biases(templates, fit)).max() < 3
    with pytest.raises(FitError, match="fewer than the 300000 that a fit needs"):
        scene.fit(templates, FitOptions(min_pixels=300_000))
