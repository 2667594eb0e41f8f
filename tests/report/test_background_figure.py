"""The picture of a background subtraction."""

import matplotlib.axes
import numpy as np
import pytest

from soss_photcal_steps.report.background_figure import background_figure

NY, NX = 64, 2046
BREAK = np.linspace(695, 703, NY)
COST = np.arange(25) ** 2.0 * 7 + 1000


def scene():
    """Make image, background, wing and mask; data are 3 and 4 left and right plus a wing."""
    background = np.full((NY, NX), 3.0, np.float32)
    background[:, 700:] = 4
    wing = np.tile((30 / (5 + np.arange(NY)))[:, None], (1, NX)).astype(np.float32)
    mask = np.ones((NY, NX), bool)
    mask[:20] = False
    image = background + wing + np.random.default_rng(0).normal(0, 0.1, (NY, NX))
    return {"image": image, "background": background, "wing": wing, "mask": mask}


def draw(tmp_path, cost=COST, chosen=0, **changes):
    """Draw the figure, save it and give its panels by their titles."""
    names = [f"zodi_{k}" for k in range(len(cost))]
    figure = background_figure(
        **{**scene(), **changes}, break_column=BREAK, cost=cost, names=names, chosen=chosen,
        title="one file",
    )  # fmt: skip
    figure.savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").stat().st_size > 5000
    assert figure.get_suptitle() == "one file"
    return {a.get_title(loc="left").split(",")[0].split(";")[0]: a for a in figure.axes}


def line(axis: matplotlib.axes.Axes, label):
    """Give x and y of a curve."""
    return next(k for k in axis.lines if k.get_label() == label).get_data()


def test_panels_and_labels(tmp_path):
    """Image before and after, three profiles and the ranking are there, with units."""
    panels = draw(tmp_path)
    assert {
        "before", "after", "mean over the sky pixels of each column", "left of the break",
        "right of the break", "ranking of the templates",
    } <= set(panels)  # fmt: skip
    column = panels["mean over the sky pixels of each column"]
    assert column.get_ylabel() == "DN/s"
    assert column.get_xlabel() == "column"
    assert panels["left of the break"].get_xlabel() == "row"
    before, after = (panels[k].images[0] for k in ("before", "after"))
    np.testing.assert_allclose(before.get_array(), scene()["image"])
    np.testing.assert_allclose(after.get_array(), scene()["image"] - scene()["background"])
    assert before.get_clim() == after.get_clim()


def test_profiles_are_masked_means(tmp_path):
    """The curves are the means over the sky pixels of groups of eight columns and of each row."""
    panels, s = draw(tmp_path), scene()
    x, y = line(panels["mean over the sky pixels of each column"], "data, sky pixels")
    np.testing.assert_allclose(x[:3], [3.5, 11.5, 19.5])
    np.testing.assert_allclose(y[5], s["image"][20:, 40:48].mean(), rtol=1e-6)
    _, y = line(panels["mean over the sky pixels of each column"], "background")
    np.testing.assert_allclose(y[[0, 200]], [3, 4])
    _, y = line(panels["right of the break"], "background + wings of the star")
    assert np.isnan(y[:20]).all()
    np.testing.assert_allclose(y[30], 4 + 30 / 35, rtol=1e-5)


@pytest.mark.parametrize("what", ["image", "background", "wing"])
def test_pixels_without_value_leave_only_their_own_gap(tmp_path, what):
    """NaN columns and a NaN pixel per group, even if masked as sky, do not empty the profiles."""
    values = scene()[what].copy()
    values[:, 104:120] = np.nan
    values[30, ::8] = np.nan
    panels = draw(tmp_path, **{what: values})
    _, y = line(panels["mean over the sky pixels of each column"], "data, sky pixels")
    assert np.flatnonzero(np.isnan(y)).tolist() == [13, 14]
    _, y = line(panels["left of the break"], "data, sky pixels")
    assert np.isfinite(y[20:]).all()


def test_template_taken_is_always_in_the_ranking(tmp_path):
    """Of 25 templates 18 are shown, in order of cost, and the one taken even if it is the worst."""
    axis = draw(tmp_path, chosen=24)["ranking of the templates"]
    names = [t.get_text() for t in axis.get_yticklabels()]
    assert len(names) == 18
    assert names[:3] == ["zodi_0", "zodi_1", "zodi_2"]
    assert names[-1] == "zodi_24"
    np.testing.assert_allclose([b.get_width() for b in axis.patches][:3], [0, 7, 28])


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": np.array([5.0])},
        {"cost": np.full(3, 5.0)},
        {"mask": np.zeros((NY, NX), bool)},
        {"image": np.full((NY, NX), np.nan)},
        {"background": np.full((NY, NX), np.nan)},
    ],
    ids=["one template", "equal templates", "no sky", "no image", "no background"],
)
def test_extreme_input_is_drawn(tmp_path, changes):
    """One or equal templates, no sky or no values at all give a picture and no warning."""
    assert len(draw(tmp_path, **changes)) >= 6
