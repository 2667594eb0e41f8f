"""Model of the block means and its robust solution, on images built from known parts."""

import dataclasses

import numpy as np
import pytest

from soss_photcal_steps.background.conclude import (
    CALIBRATION,
    SMALLEST_ERROR,
    FitError,
    _parts,
    conclude,
)
from soss_photcal_steps.background.estimate import _chosen
from soss_photcal_steps.background.fit import NormalEquations
from soss_photcal_steps.background.light import TraceLight, reference_wing
from soss_photcal_steps.background.model import block_means, solve
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.background.select import jackknife, library_modes
from soss_photcal_steps.background.sky import bin_sky, make_blocks
from soss_photcal_steps.background.templates import prepare_templates
from soss_photcal_steps.background.wingfield import wing_field
from soss_photcal_steps.background.wings import ROUND, wing_image
from soss_photcal_steps.simulate import make_library

ROWS = np.arange(256.0)
NOISE = 0.05
LEVELS = np.array([2.5, 3.5])


@pytest.fixture(scope="module")
def templates():
    """Give five templates."""
    return prepare_templates(make_library(5, 3).data)


@pytest.fixture(scope="module")
def parts(templates):
    """Give means, blocks, modes and the true wing for template 2 plus a reference wing."""
    return build(templates)


def single(templates):
    """Give the background of template 2 alone, shape (256, 2048)."""
    levels = np.zeros((5, 2))
    levels[2] = LEVELS
    return templates.unbinned(templates.on_bins(levels), 2048)


def build(templates, outliers=False, sign=1.0):
    """Build the block means of template 2 plus the wing of one trace and noise."""
    rng = np.random.default_rng(0)
    image = sign * single(templates) + rng.normal(0, NOISE, (256, 2048))
    image = image.astype(np.float32)
    good = np.broadcast_to(np.abs(ROWS - 60)[:, None] > 21, image.shape).copy()
    sky = bin_sky(image, np.full(image.shape, NOISE), good, ROWS)
    light = [TraceLight(1, np.full(2048, 60.0), np.full(2048, 800.0), np.ones(2048, bool))]
    field = wing_field(sky, light)
    blocks = make_blocks(sky.rows, 512, 4, (696, 705))
    modes = library_modes(templates, blocks, 4, 1.5, 6, 0.012)
    options = FitOptions()
    means = block_means(sky, blocks, sky.weight, templates, field, options.prior, modes)
    wing = wing_image(field, means.basis, means.basis.mean, sky)
    sky.value[:] += wing.astype(np.float32)
    if outliers:
        sky.value[100:104, 100:300] += 5
    means = block_means(sky, blocks, sky.weight, templates, field, options.prior, modes)
    return sky, blocks, modes, means, wing


def test_means_are_weighted_means_of_blocks(parts):
    """Data, noise and terms equal weighted means that are written out for some blocks."""
    sky, blocks, _, means, _ = parts
    ids = np.flatnonzero(means.used)
    for k in (0, 100, len(ids) - 1):
        here = (blocks.index == ids[k]) & (sky.weight > 0)
        w = sky.weight[here]
        assert means.data[k] == pytest.approx(np.average(sky.value[here], weights=w), rel=1e-5)
        assert means.noise[k] == pytest.approx(NOISE**2 / w.sum(), rel=1e-4)
    assert (means.right == (blocks.columns[ids] > 702)).mean() > 0.97
    assert not means.used.all()


def test_solution_finds_template_levels_and_wing(parts, templates):
    """The right template, its levels to half a per cent and the wing to 3 per cent come back."""
    _, blocks, _, means, wing = parts
    solution = solve(means, FitOptions(), None, 4, True)
    assert solution.best == 2
    np.testing.assert_allclose(solution.fits[2].amplitudes, LEVELS, rtol=5e-3)
    size = blocks.sums(np.ones(blocks.index.shape))
    true = (blocks.sums(wing * parts[0].weight) / np.maximum(blocks.sums(parts[0].weight), 1))[
        means.used
    ]
    bright = (true > 0.5) & (size[means.used] > 0)
    assert np.abs(solution.wing[means.used][bright] / true[bright] - 1).max() < 0.05
    assert np.abs(solution.residual).mean() < 0.02


def test_chromatic_wings_that_level_off_leave_the_levels_alone(templates):
    """Wings 0.7 times as strong in the red and 1.3 in the blue cost less than 0.1 per cent."""
    columns = np.arange(2048)
    light = 100 + 6000 * (columns / 2048) ** 3
    strength = 1 + 0.3 * np.clip((columns - 1050) / 750, -1, 1)
    distance = np.abs(ROWS - 60)[:, None]
    image = single(templates) + light * strength * reference_wing(distance)
    image = (image + np.random.default_rng(0).normal(0, NOISE, image.shape)).astype(np.float32)
    good = np.broadcast_to(distance > 21, image.shape).copy()
    sky = bin_sky(image, np.full(image.shape, NOISE), good, ROWS)
    traces = [TraceLight(1, np.full(2048, 60.0), light, np.ones(2048, bool))]
    blocks = make_blocks(sky.rows, 512, 4, (696, 705))
    field = wing_field(sky, traces)
    means = block_means(sky, blocks, sky.weight, templates, field, FitOptions().prior, None)
    solution = solve(means, FitOptions(), None, 4, True)
    assert solution.best == 2
    np.testing.assert_allclose(solution.fits[2].amplitudes, LEVELS, rtol=1e-3)


def test_bright_blocks_lose_their_weight(templates):
    """Blocks with a source of 5 DN/s keep less than 1 per cent weight and do not bias the fit."""
    means = build(templates, outliers=True)[3]
    solution = solve(means, FitOptions(), None, 4, False)
    hit = solution.residual > 1
    assert hit.sum() > 10
    assert solution.robust[hit].max() < 0.01
    np.testing.assert_allclose(solution.fits[2].amplitudes, LEVELS, rtol=0.01)


def test_a_start_keeps_the_widths_and_a_fixed_template_stays(parts):
    """A solution that starts from another keeps its factors; a template asked for is the best."""
    means = parts[3]
    tuned = solve(means, FitOptions(), None, 3, True)
    assert tuned.factors
    again = solve(means, FitOptions(template=4), tuned, 2, False)
    assert again.factors == tuned.factors
    assert again.best == 4


def test_weights_do_not_silence_what_speaks_against_a_template():
    """Without the true template half as many blocks lose weight if a combination gives weights."""
    means = build(prepare_templates(make_library(5, 3, variation=3.0).data))[3]
    means = dataclasses.replace(means, terms=means.terms[[0, 1, 3, 4]])
    fair = solve(means, FitOptions(), None, 4, False)
    alone = dataclasses.replace(means, mixed=None, mixed_sigma=None)
    unfair = solve(alone, FitOptions(), None, 4, False)
    assert (fair.robust < 1).sum() <= 0.5 * (unfair.robust < 1).sum()


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_round_point_spread_function_is_told_from_none(templates, spread):
    """Light spread along the dispersion or not is found out, with levels to 0.1 per cent."""
    rng = np.random.default_rng(0)
    image = single(templates) + rng.normal(0, NOISE, (256, 2048))
    image = image.astype(np.float32)
    good = np.broadcast_to(np.abs(ROWS - 60)[:, None] > 21, image.shape).copy()
    sky = bin_sky(image, np.full(image.shape, NOISE), good, ROWS)
    bright = 200 + 3000 * np.exp(-np.arange(2048) / 500)
    light = [TraceLight(1, np.full(2048, 60.0), bright, np.ones(2048, bool))]
    field = wing_field(sky, light, (0.0175, 1.1))
    blocks = make_blocks(sky.rows, 512, 4, (696, 705))
    modes = library_modes(templates, blocks, 4, 1.5, 6, 0.012)
    given = (sky, blocks, sky.weight, templates, field, FitOptions().prior, modes)
    basis = block_means(*given).basis
    wing = wing_image(field, basis, basis.prior({ROUND: spread})[0], sky)
    sky.value[:] += wing.astype(np.float32)
    solution = solve(block_means(*given), FitOptions(), None, 4, True)
    assert solution.factors[ROUND] == spread
    assert solution.best == 2
    np.testing.assert_allclose(solution.fits[2].amplitudes, LEVELS, rtol=1e-3)


@pytest.mark.parametrize(("tilt", "wide"), [(0.0, False), (0.3, True)])
def test_wide_priors_need_a_reason(templates, parts, tilt, wide):
    """Only for wings that differ by 30 per cent along the columns that prior gets wider."""
    sky, blocks, modes, means, _ = parts
    names = np.array(means.basis.names)
    light = [TraceLight(1, np.full(2048, 60.0), np.full(2048, 800.0), np.ones(2048, bool))]
    field = wing_field(sky, light)
    extra = wing_image(field, means.basis, np.where(names == "chromatic1", tilt, 0.0), sky)
    changed = dataclasses.replace(sky, value=sky.value + extra.astype(np.float32))
    given = (changed, blocks, sky.weight, templates, field, FitOptions().prior, modes)
    solution = solve(block_means(*given), FitOptions(), None, 4, True)
    assert solution.factors["chromatic"] >= 1 if wide else solution.factors["chromatic"] <= 0.15
    np.testing.assert_allclose(solution.fits[2].amplitudes, LEVELS, rtol=5e-3)


def test_sources_are_sought_above_what_is_clearly_better(templates, parts):
    """Above the least gain the combination, right to 1.2 per cent, is the image, or a template."""
    sky, blocks, modes, means, _ = parts
    # 5 per cent of a curve are in no template.
    curved = single(templates) * (1 + 0.05 * np.sin(np.arange(2048) / 200)).astype(np.float32)
    binned = bin_sky(curved, np.full(curved.shape, NOISE), np.ones(curved.shape, bool), ROWS)
    norm = np.maximum(blocks.sums(sky.weight), 1)
    data = (blocks.sums(binned.value * sky.weight) / norm)[means.used]
    wing = (means.basis.design @ means.basis.mean)[means.used]
    means = dataclasses.replace(means, data=data + wing)
    solution = solve(means, FitOptions(), None, 4, False)
    assert solution.mixed.gain > 40
    away = np.r_[10:160, 200:500]
    # Ahead of all others by 1,000, a template is only left for a gain of 150.
    ahead = [
        dataclasses.replace(f, log_evidence=1000.0 * (k == solution.best))
        for k, f in enumerate(solution.fits)
    ]
    level = [dataclasses.replace(f, log_evidence=0.0) for f in solution.fits]
    for fits, gain, lowest, highest in (
        (level, 41, 0.0, 0.012), (level, 39, 0.05, np.inf),
        (ahead, 151, 0.0, 0.012), (ahead, 149, 0.05, np.inf),
    ):  # fmt: skip
        mixed = dataclasses.replace(solution.mixed, gain=gain)
        found = dataclasses.replace(solution, mixed=mixed, fits=fits)
        levels, tilt, coefficients = _chosen(found, modes, FitOptions(), 5)
        image = templates.on_bins(levels, tilt)
        off = np.abs(image[60:, away] / binned.value[60:, away] - 1)
        assert lowest < np.percentile(off, 90) < highest
        assert len(coefficients) == len(means.basis.mean)


def test_conclusion_agrees_with_the_truth(parts):
    """Levels agree with the truth within 4 errors, and both the errors and shares make sense."""
    _, blocks, modes, means, _ = parts
    solution = solve(means, FitOptions(), None, 4, True)
    result = conclude(solution, means, modes, blocks, FitOptions())
    error = np.sqrt(np.diag(result.selection.covariance))
    assert (np.abs(result.selection.levels - LEVELS) < 4 * error).all()
    assert (error < 0.02 * LEVELS).all()
    assert np.linalg.eigvalsh(result.selection.covariance).min() > 0
    assert result.best == 2
    assert len(result.probability) == 6
    assert result.probability.sum() == pytest.approx(1)
    assert np.isfinite(result.gain)
    assert (result.unseen >= 0).all()
    assert (result.unseen < 0.003 * LEVELS).all()


def test_masked_sources_add_the_error_of_fainter_ones(parts):
    """A side all masked adds 0.2 per cent and 2.5 times a block's noise; half masked, a quarter."""
    _, blocks, modes, means, _ = parts
    solution = solve(means, FitOptions(), None, 4, True)
    clear = conclude(solution, means, modes, blocks, FitOptions(), np.zeros(2)).selection
    crowded = conclude(solution, means, modes, blocks, FitOptions(), np.array([0.5, 1.0])).selection
    np.testing.assert_array_equal(crowded.levels, clear.levels)
    noise = np.sqrt([np.median(means.noise[means.right == side]) for side in (False, True)])
    added = np.array([0.25, 1.0]) * np.sqrt((0.002 * clear.levels) ** 2 + (2.5 * noise) ** 2)
    more = crowded.covariance - clear.covariance
    np.testing.assert_allclose(more / CALIBRATION, np.diag(added**2), rtol=1e-4, atol=1e-12)


def test_conclusion_without_modes(parts):
    """Without modes there is one share for each template and no gain."""
    _, blocks, _, means, _ = parts
    solution = solve(means, FitOptions(combine="never"), None, 4, False)
    result = conclude(solution, means, None, blocks, FitOptions(combine="never"))
    np.testing.assert_allclose(result.probability, np.eye(5)[2])
    assert result.gain == -np.inf
    assert not result.combined


def test_negative_level_is_refused(templates):
    """A background below zero by more than three errors is refused with its level."""
    _, blocks, modes, means, _ = build(templates, sign=-1.0)
    solution = solve(means, FitOptions(), None, 3, False)
    with pytest.raises(FitError, match=r"negative, -\d"):
        conclude(solution, means, modes, blocks, FitOptions())


def test_one_bright_column_does_not_set_the_scale_of_the_stripes(parts):
    """Offsets of columns are found, and a column with a source makes them hardly larger."""
    means = parts[3]
    offset = np.random.default_rng(4).normal(0, 0.02, len(means.shapes[0]))
    sizes = []
    for source in (0.0, 0.5, 1.0):
        data = means.data + offset[means.column] + source * (means.column == 12)
        solution = solve(dataclasses.replace(means, data=data), FitOptions(), None, 4, False)
        sizes.append(np.median(np.diag(solution.stripes.covariance)))
    assert sizes[0] == pytest.approx(0.02**2, rel=0.4)
    assert max(sizes[1:]) < 2 * sizes[0]


def test_levels_and_covariance_are_the_stated_sums(templates):
    """Levels are the fit's less the unseen light; the covariance is fit, jackknife and doubt."""
    _, blocks, _, means, _ = build(templates)
    # A tenth of the blocks holds a little light.
    faint = np.random.default_rng(5).random(means.data.size) < 0.1
    means = dataclasses.replace(means, data=means.data + 0.04 * faint)
    options = FitOptions(combine="never")
    solution = solve(means, options, None, 4, False)
    result = conclude(solution, means, None, blocks, options)
    assert (result.unseen > 0.0005).all()

    weight = solution.robust
    squares = (weight * solution.residual**2 / solution.variance).sum() / weight.sum()
    variance = max(squares, 1) * solution.variance / np.maximum(weight, 1e-4)
    stripes = solution.stripes.scaled(max(squares, 1))
    design = means.basis.design[means.used]
    prior = means.basis.prior(solution.factors)
    terms = means.terms[2]
    equations = NormalEquations(means.data, variance, design, terms[None], stripes)
    fit = equations.solve(*prior)[0]
    np.testing.assert_allclose(result.selection.levels, fit.amplitudes - result.unseen)

    groups = _parts(means, blocks)
    resampled = jackknife(means.data, variance, design, terms, groups, (*prior, None), stripes)
    assert np.trace(resampled) > 0
    rest = result.selection.covariance - CALIBRATION * (fit.covariance + resampled)
    assert rest[0, 1] == pytest.approx(0, abs=1e-6 * np.abs(fit.covariance).max())
    least = CALIBRATION * (0.5 * result.unseen) ** 2 + (SMALLEST_ERROR * fit.amplitudes) ** 2
    assert (np.diag(rest) > 0.999 * least).all()
