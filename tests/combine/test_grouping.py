"""Stability visits that count as one curve."""

import numpy as np

from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.grouping import assign_group, group_curves
from soss_photcal_steps.ratio.standards import load_standards

X = np.linspace(1.0, 2.0, 200)


def visit(observation, value, star="BD+60 1753", **changes):
    """Give a flat curve."""
    return Curve(
        star=star,
        observation=observation,
        order=1,
        wavelength=X,
        ratio=np.broadcast_to(value, X.shape),
        stat_error=np.full(X.shape, 0.001),
        **changes,
    )


def test_report_has_eight_curves():
    """Table 3 gives two curves of BD+60 1753, three of GSPC P330-E, one of each other star."""
    curves, stability = [], set()
    for star in load_standards().stars:
        for known in star.observations:
            if known.role == "test":
                continue
            name = f"{known.program}/{known.observation}"
            curves.append(visit(name, 1.0, star=star.name))
            if known.role == "stability":
                stability.add(name)
    assert len(curves) == 33
    grouped = group_curves(assign_group(curves, lambda c: c.observation in stability))
    count = {star: [c.star for c in grouped].count(star) for star in {c.star for c in grouped}}
    assert len(grouped) == 8
    assert count["BD+60 1753"] == 2 and count["GSPC P330-E"] == 3
    assert sorted(count.values()) == [1, 1, 1, 2, 3]


def test_group_is_a_clipped_mean():
    """One bad visit of 25 does not count, and the error is the scatter over the root of 24."""
    rng = np.random.default_rng(1)
    curves = [visit(f"1/{i}", 1 + rng.normal(0, 0.002, X.size), n_frames=10) for i in range(24)]
    curves.append(visit("1/24", 1.5, n_frames=10))
    (one,) = group_curves(assign_group(curves, lambda c: True))
    assert abs(one.ratio.mean() - 1) < 1e-4
    assert np.median(one.stat_error) == np.clip(np.median(one.stat_error), 3.4e-4, 4.8e-4)
    assert one.n_frames == 250 and one.n_observations == 25


def test_visits_that_overlap_in_part():
    """Where one or two visits are left, their own errors are taken, not the scatter of two."""
    curves = [visit("1/1", 1.0), visit("1/2", 1.0, valid=X < 1.5), visit("1/3", 1.0, valid=X < 1.2)]
    (one,) = group_curves(assign_group(curves, lambda c: True))
    assert one.valid.all()
    np.testing.assert_allclose(one.stat_error[X > 1.5], 0.001)
    np.testing.assert_allclose(one.stat_error[(X > 1.2) & (X < 1.5)], 0.001 / np.sqrt(2))


def test_other_stars_are_not_touched():
    """A curve without a group, or alone in it, is handed on as it is."""
    curves = [visit("1/1", 1.0), visit("2/1", 1.1, star="B", group="stability")]
    assert group_curves(curves) == curves
