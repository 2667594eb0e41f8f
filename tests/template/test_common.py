"""What templates share, on surfaces whose shapes and noise are known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.template.build import HALF_STEP, BuiltTemplate
from soss_photcal_steps.template.common import count_components, share_shapes, shared_sum
from soss_photcal_steps.template.smooth import nominal_break

NY, NX = 64, 2048
NOISE = 0.004


def waves(rng, size):
    """Draw smooth noise of rms 1 along the columns, the same in all rows."""
    x = np.linspace(0, 1, NX)
    amplitudes = rng.standard_normal((size, 12)) / np.sqrt(6)
    phases = rng.uniform(0, 2 * np.pi, (size, 12, 1))
    terms = np.cos(2 * np.pi * np.arange(1, 13)[:, None] * x + phases)
    return np.einsum("nk,nkx->nx", amplitudes, terms)


def truths(rng, count=12, modes=2, size=0.02):
    """Make skies of a mean and a few modes, of different levels, shape (count, NX)."""
    shapes = waves(rng, modes)
    relative = 1 + size * rng.standard_normal((count, modes)) @ shapes
    return rng.uniform(2, 8, count)[:, None] * relative


def template(left, right, halves, noise=NOISE):
    """Make a template of two sides; halves are its two halves on both sides."""
    rows, columns = HALF_STEP
    sides = [np.tile(side, (NY, 1)).astype(np.float32) for side in (left, right)]
    parts = None
    if halves is not None:
        parts = tuple(
            np.array([np.tile(half, (NY, 1))[::rows, ::columns] for half in pair])
            for pair in halves
        )
    edge = nominal_break(np.arange(NY))
    fraction = edge.fraction(NX)
    image = sides[0] * (1 - fraction) + sides[1] * fraction
    return BuiltTemplate(
        image=image.astype(np.float32),
        error=np.full((NY, NX), noise * left.mean(), np.float32),
        measured=np.ones((NY, NX), bool),
        edge=edge,
        scales=np.ones((2, 2)),
        masked=np.zeros(2),
        masks=(),
        mean=image,
        left=sides[0],
        right=sides[1],
        halves=parts,
    )


def observed(rng, sky, noise=NOISE):
    """Observe a sky twice on each side; give the template of both halves together."""
    halves = [[sky * (1 + np.sqrt(2) * noise * waves(rng, 1)[0]) for _ in range(2)] for _ in "lr"]
    left, right = (np.mean(pair, axis=0) for pair in halves)
    return template(left, right, halves, noise)


def rms_error(templates, skies, side=np.s_[830:2040]):
    """Give the rms departure of each template from the truth, less a scale."""
    found = []
    for one, sky in zip(templates, skies, strict=True):
        ratio = one.image[10, side] / sky[side]
        found.append(np.std(ratio / ratio.mean()))
    return np.array(found)


def test_noise_of_templates_is_taken_off_by_the_others():
    """Twelve skies of two modes are found, and their noise falls to less than 0.75."""
    rng = np.random.default_rng(3)
    skies = truths(rng)
    alone = [observed(rng, sky) for sky in skies]
    shared = share_shapes(alone)
    assert shared.components == (2, 2)
    assert all(one.components == (2, 2) for one in shared.templates)
    before, after = rms_error(alone, skies), rms_error(shared.templates, skies)
    assert np.sqrt(np.mean(after**2)) < 0.75 * np.sqrt(np.mean(before**2))
    for one, sky in zip(shared.templates, skies, strict=True):
        assert one.image[:, 830:2040].mean() / sky[830:2040].mean() == pytest.approx(1, abs=0.005)


def test_errors_are_those_that_the_truth_shows():
    """The quoted error is the real one within 30 per cent, though pixels tell a third of it."""
    rng = np.random.default_rng(4)
    skies = truths(rng, 16)
    alone = [observed(rng, sky) for sky in skies]
    alone = [replace(one, error=one.error / 3) for one in alone]
    for share in (True, False):
        found = share_shapes(alone, share=share)
        quoted = np.array(
            [
                np.median(one.error[10, 830:2040]) / one.image[10, 830:2040].mean()
                for one in found.templates
            ]
        )
        real = rms_error(found.templates, skies)
        assert np.sqrt(np.mean(quoted**2) / np.mean(real**2)) == pytest.approx(1, abs=0.3)
        assert found.noise[1] > 2


def test_error_has_what_the_components_leave_out():
    """Of eight modes, most of them weaker than the noise, the quoted error is right to a fifth."""
    rng = np.random.default_rng(8)
    skies = truths(rng, 18, modes=8, size=0.0015)
    alone = [observed(rng, sky) for sky in skies]
    found = share_shapes(alone)
    assert max(found.components) < 8
    quoted = np.array(
        [
            np.median(one.error[10, 830:2040]) / one.image[10, 830:2040].mean()
            for one in found.templates
        ]
    )
    real = rms_error(found.templates, skies)
    assert np.sqrt(np.mean(quoted**2) / np.mean(real**2)) == pytest.approx(1, abs=0.2)


def test_profile_of_the_break_is_that_of_all():
    """Column noise of 1 per cent leaves a fifth of its error in the break of 25 templates."""
    rng = np.random.default_rng(10)
    edge = nominal_break(np.arange(NY))
    smooth = np.clip((edge.offset + 10) / 20, 0, 1)
    true = replace(edge, profile=smooth, found=True).fraction(NX)
    level = np.ones(NX)
    alone = []
    for _ in range(25):
        one = template(level, 2 * level, [[level, level], [2 * level, 2 * level]], 1e-6)
        mean = (1 + true) * (1 + 0.01 * rng.standard_normal(NX))
        alone.append(replace(one, mean=mean, edge=replace(edge, found=True)))
    found = share_shapes(alone)
    near = np.s_[:, 690:720]
    for one in found.templates:
        error = np.std(one.image[near] - (1 + true)[near])
        # One profile alone has 1.5 per cent in its core, less what 64 rows and tilt average.
        assert error < 0.004
        assert one.edge.width == pytest.approx(20, rel=0.2)
    rows = np.std(alone[0].mean[near] - (1 + true)[near])
    assert rows > 0.012


def test_error_has_what_no_template_describes():
    """A ripple of 0.2 per cent that all means show and no model has is found to a tenth."""
    rng = np.random.default_rng(9)
    skies = truths(rng, 6)
    ripple = 0.002 * np.sqrt(2) * np.sin(2 * np.pi * np.arange(NX) / 256)
    alone = []
    for sky in skies:
        one = observed(rng, sky)
        noise = 0.01 * rng.standard_normal(one.image.shape)
        alone.append(replace(one, mean=one.image * (1 + ripple + noise)))
    for share in (True, False):
        found = share_shapes(alone, share=share)
        assert found.misfit == pytest.approx(0.002, rel=0.1)
        for one in found.templates:
            assert (one.error / one.image).min() > 0.0018
    plain = share_shapes([replace(one, mean=one.image) for one in alone])
    assert plain.misfit < 1e-6
    assert np.isnan(share_shapes(alone[:1]).misfit)


def test_unlike_template_stands_by_itself():
    """One sky of another shape than eleven others is not bent towards them, nor bends them."""
    rng = np.random.default_rng(5)
    skies = truths(rng, 12, size=0.02)
    skies[7] *= 1 + 0.006 * np.sin(np.arange(NX) / 40)
    alone = [observed(rng, sky, 0.0005 if k == 7 else 0.002) for k, sky in enumerate(skies)]
    found = share_shapes(alone)
    before, after = rms_error(alone, skies), rms_error(found.templates, skies)
    assert after[7] < 1.3 * before[7]
    others = np.arange(12) != 7
    assert np.sqrt(np.mean(after[others] ** 2)) < np.sqrt(np.mean(before[others] ** 2))


def test_nothing_is_shared_without_halves_or_by_few():
    """Templates of single exposures, three templates, and share=False leave every value."""
    rng = np.random.default_rng(6)
    skies = truths(rng, 6)
    single = [template(sky, sky, None) for sky in skies]
    found = share_shapes(single)
    assert found.components is None
    assert np.isnan(found.noise).all()
    assert all(new is old for new, old in zip(found.templates, single, strict=True))
    pairs = [observed(rng, sky) for sky in skies]
    for some, share in ((pairs[:3], True), (pairs, False)):
        found = share_shapes(some, share=share)
        assert found.components is None
        for new, old in zip(found.templates, some, strict=True):
            assert (new.image == old.image).all()
            assert (new.error >= old.error).all()
    mixed = share_shapes([*pairs, single[0]])
    assert mixed.components is not None
    assert mixed.templates[-1] is single[0]
    assert share_shapes([]).components is None


def test_component_counts_follow_the_modes():
    """Cross-validation finds 0 to 3 modes that stand above the noise, and no more."""
    rng = np.random.default_rng(7)
    for modes in range(4):
        # The modes are of the same strength, and at right angles.
        basis = np.linalg.qr(rng.standard_normal((400, 3)))[0].T * 20
        true = 1 + 0.01 * rng.standard_normal((16, modes)) @ basis[:modes]
        noise = np.full(16, 0.003)
        one, other = (true + 0.003 * rng.standard_normal(true.shape) for _ in range(2))
        assert count_components(one, other, noise) == modes


@given(st.integers(0, 2**31), st.integers(0, 6), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_sums_keep_level_and_known_components(seed, count, ratio):
    """Rows sum to 1, doing it twice changes nothing, and exact sums of few modes stay."""
    rng = np.random.default_rng(seed)
    noise = 0.01 * np.where(np.arange(8) % 2, ratio, 1.0)
    shapes = 1 + 0.05 * rng.standard_normal((8, 90))
    sums = shared_sum(shapes, noise, count)
    assert np.allclose(sums.sum(axis=1), 1)
    assert np.allclose(sums @ sums, sums, atol=1e-9)
    exact = 1 + rng.standard_normal((8, count)) @ (0.05 * rng.standard_normal((count, 90)))
    assert np.allclose(shared_sum(exact, noise, count) @ exact, exact, atol=1e-8)
