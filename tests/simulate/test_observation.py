"""Light of a standard star on the detector, and the truth about it."""

from dataclasses import replace

import numpy as np
import pytest
from jwst.extract_1d.soss_extract.soss_boxextract import get_box_weights

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import make_library
from soss_photcal_steps.simulate.instrument import response
from soss_photcal_steps.simulate.observation import (
    ObservationPlan,
    background_plan,
    make_scene,
    zero_order_on_trace,
)
from soss_photcal_steps.simulate.standards import TabulatedSpectrum, standard
from soss_photcal_steps.simulate.truth import contamination_intervals, observation_truth
from soss_photcal_steps.simulate.truthfile import read_truth, read_truths, write_truth
from soss_photcal_steps.trace import trace_positions, wavelengths

# A star of 0.1 Jy at all wavelengths: its counts are 1e-7 / response.
FLAT = replace(
    standard("bd60d1753"), spectrum=TabulatedSpectrum(np.array([0.1, 9.0]), np.full(2, 1e-7))
)
PLAN = ObservationPlan(
    FLAT, noise=False, bad_pixels=0, unflagged_pixels=0, cosmic_rays=0, star_scatter=0,
    pwcpos=245.83, template_index=0, level_left=3.0, side_ratio=1.0,
)  # fmt: skip
DARK = 1e-12


@pytest.fixture(scope="module")
def library():
    """Two background templates."""
    return make_library(2, seed=1)


def pipeline_box(image, order, pwcpos, lit=slice(0, 252)):
    """Sum an image over the aperture of the pipeline, as its own code lays it."""
    columns = np.arange(2048)
    weights = get_box_weights(trace_positions(order, pwcpos), 40.0, image.shape, cols=columns)
    weights[: lit.start] = weights[lit.stop :] = 0
    return (weights * image).sum(axis=0)


def alone(order):
    """Give the throughputs that leave one order and darken the others."""
    return tuple(1.0 if k == order else DARK for k in (1, 2, 3))


@pytest.mark.parametrize(
    ("order", "columns"), [(1, (4, 2044)), (2, (4, 1690)), (3, (4, 1060))]
)  # fmt: skip
@pytest.mark.parametrize("pwcpos", [245.76, 245.68, 245.85])
def test_aperture_gives_the_flux_of_the_star(library, order, columns, pwcpos):
    """With one order alone, the pipeline's box times the response is the flux within 0.001."""
    plan = replace(PLAN, pwcpos=pwcpos, throughput=alone(order))
    counts = pipeline_box(make_scene(plan, library).truth.star, order, pwcpos)
    flux = counts * response(order, wavelengths(order, pwcpos=pwcpos))
    assert flux[slice(*columns)] == pytest.approx(1e-7, rel=1e-3)


def test_all_orders_together_agree_where_they_do_not_overlap(library):
    """Order 1 below 1.2 um and order 2 at 0.67 to 0.73 um are within 0.3 per cent of the flux."""
    star = standard("bd60d1753")
    image = make_scene(replace(PLAN, star=star), library).truth.star
    for order, low, high in ((1, 0.85, 1.2), (2, 0.67, 0.73)):
        wave = wavelengths(order, pwcpos=PLAN.pwcpos)
        inside = (wave > low) & (wave < high)
        inside[:4] = inside[-4:] = False
        flux = pipeline_box(image, order, PLAN.pwcpos) * response(order, wave)
        ratio = flux[inside] / star.spectrum(wave[inside])
        assert np.median(ratio) == pytest.approx(1, abs=0.003)


def test_subarray_of_96_rows_has_the_same_light(library):
    """Order 1 has the same flux in SUBSTRIP96, where its trace keeps off the edges."""
    plan = replace(PLAN, subarray="SUBSTRIP96", throughput=alone(1))
    image = make_scene(plan, library).truth.star
    centre = trace_positions(1, plan.pwcpos) - 10
    weights = get_box_weights(centre, 40.0, image.shape, cols=np.arange(2048))
    flux = (weights * image).sum(axis=0) * response(1, wavelengths(1, pwcpos=plan.pwcpos))
    assert flux[100:1990] == pytest.approx(1e-7, rel=1e-3)


def test_truth_is_what_the_aperture_sees(library):
    """Own light, other orders, background and contamination add up to the whole box."""
    plan = replace(PLAN, zero_orders=(zero_order_on_trace(1, 1.7, 50.0, pwcpos=PLAN.pwcpos),))
    scene = make_scene(plan, library)
    truth = observation_truth(plan, scene)
    whole = scene.truth.star + scene.truth.background + scene.truth.field
    for order, one in truth.orders.items():
        parts = one.counts * one.inside + one.neighbours + one.background + one.contamination
        seen = pipeline_box(whole, order, plan.pwcpos)
        lit = slice(4, 1500 if order == 3 else 2044)
        assert parts[lit] == pytest.approx(seen[lit], rel=2e-5, abs=2e-3)
        assert one.flux == pytest.approx(1e-7)
    at = np.abs(wavelengths(1, pwcpos=plan.pwcpos) - 1.7).argmin()
    assert truth.orders[1].background[at] == pytest.approx(40 * 4.9, rel=0.1)


def test_edge_of_the_subarray_is_in_the_truth(library):
    """Where the box leaves the subarray, the share inside is what really arrives."""
    plan = replace(PLAN, throughput=alone(2))
    scene = make_scene(plan, library)
    truth = observation_truth(plan, scene).orders[2]
    seen = pipeline_box(scene.truth.star, 2, plan.pwcpos)
    flux = seen * response(2, wavelengths(2, pwcpos=plan.pwcpos))
    share = flux / 1e-7
    assert share[1650] == pytest.approx(1, rel=1e-3) and share[1780] < 0.97
    assert truth.inside[1600:1800] == pytest.approx(share[1600:1800], abs=1e-3)
    assert (truth.inside[:4] == 0).all() and (truth.inside[-4:] == 0).all()


def test_expected_ratios():
    """The expected ratio has the filed error, the model's error and the loss of throughput."""
    star = replace(FLAT, grey_error=0.03)
    plan = replace(PLAN, star=star, throughput=(0.9, 1.0, 1.0), nints=1)
    truth = observation_truth(plan, make_scene(plan, make_library(1)))
    one = truth.orders[1]
    at = np.abs(one.wavelength - 1.1).argmin()
    assert one.expected_ratio[at] == pytest.approx(0.99 * 1.03 * 0.9, rel=1e-4)
    assert one.model_flux[at] == pytest.approx(1e-7)
    three = truth.orders[3]
    assert three.expected_ratio[300] == pytest.approx(1.03, rel=1e-4)
    more = (three.neighbours + three.contamination)[300] / three.counts[300]
    assert three.expected_box_ratio[300] == pytest.approx(1.03 * (1 + more), rel=1e-4)


@pytest.mark.parametrize("wavelength", [1.0, 1.55, 2.3])
def test_zero_order_hits_the_wavelength_that_was_asked_for(library, wavelength):
    """A zero order on the trace makes its peak within 0.002 um of the wavelength given."""
    hit = zero_order_on_trace(1, wavelength, 80.0, pwcpos=PLAN.pwcpos)
    clean = make_scene(PLAN, library).truth
    dirty = make_scene(replace(PLAN, zero_orders=(hit,)), library).truth
    extra = pipeline_box(dirty.field - clean.field, 1, PLAN.pwcpos)
    wave = wavelengths(1, pwcpos=PLAN.pwcpos)
    assert wave[extra.argmax()] == pytest.approx(wavelength, abs=0.002)
    plan = replace(PLAN, zero_orders=(hit,))
    intervals = observation_truth(plan, make_scene(plan, library)).orders[1].intervals
    assert len(intervals) == 1
    assert intervals[0, 0] < wavelength < intervals[0, 1] < intervals[0, 0] + 0.08


def test_intervals_are_the_stretches_above_the_limit():
    """Two stretches above half a per cent give two intervals, by rising wavelength."""
    wave = np.linspace(2.0, 1.0, 11)
    contamination = np.array([0, 9, 9, 0, 0, 0, 0, 1, 9, 0, 4]) * 1.0
    found = contamination_intervals(wave, contamination, np.full(11, 1000.0))
    assert found == pytest.approx(np.array([[1.2, 1.2], [1.8, 1.9]]))
    assert contamination_intervals(wave, 0 * wave, np.ones(11)).shape == (0, 2)


def test_groups_follow_the_brightness():
    """A bright star gets few groups, a faint one many, and a number given is kept."""
    assert ObservationPlan(standard("bd60d1753")).groups < 6
    assert ObservationPlan(standard("1743045")).groups == 30
    assert ObservationPlan(standard("1743045"), n_groups=7).groups == 7


def test_dedicated_background_has_the_same_sky_but_not_the_same_noise(library):
    """Sky and bad pixels are the observation's, its noise is not."""
    plan = ObservationPlan(
        FLAT, background_observation=9, seed=4, defects_seed=2, level_left=3.0, n_groups=30,
        unflagged_pixels=0,
    )  # fmt: skip
    other = replace(background_plan(plan), n_groups=30)
    one, two = make_scene(plan, library), make_scene(other, library)
    assert np.array_equal(one.truth.background, two.truth.background)
    assert np.array_equal(one.defects.dq, two.defects.dq)
    assert not two.truth.star.any()
    sky = np.s_[215:245, 20:500]
    noise = [
        (s.integration(0).sci - s.truth.background - s.truth.star - s.truth.field)[sky]
        for s in (one, two)
    ]
    good = (one.defects.dq[sky] == 0) & (np.abs(noise[0]) < 5) & (np.abs(noise[1]) < 5)
    assert abs(np.corrcoef(noise[0][good], noise[1][good])[0, 1]) < 0.1
    assert (other.product, other.observation, other.star) == ("rate", 9, None)
    assert other.header.background_target and not plan.header.background_target
    assert other.header.start_mjd == pytest.approx(plan.header.start_mjd + 1 / 24)


def test_truth_survives_its_file(library, tmp_path):
    """What is read from the file is what was written, arrays, numbers and names."""
    plan = replace(PLAN, nints=3, background_drift=1.0)
    truth = observation_truth(plan, make_scene(plan, library))
    path = write_truth(truth, tmp_path / f"{plan.root}_truth.asdf")
    again = read_truth(path)
    assert again.star == "bd60d1753" and again.files == tuple(plan.filenames)
    assert again.plan["seed"] == 0 and again.plan["pwcpos"] == PLAN.pwcpos
    assert again.template_index == 0
    assert np.array_equal(again.background, truth.background)
    assert again.background_factors[-1] - again.background_factors[0] == pytest.approx(0.01)
    for order in (1, 2, 3):
        for name in ("wavelength", "flux", "counts", "response", "filed_error", "intervals"):
            one, other = getattr(again.orders[order], name), getattr(truth.orders[order], name)
            assert np.array_equal(one, other)
    assert list(read_truths(tmp_path)) == [plan.root]


def test_files_that_are_no_truth_are_refused(tmp_path):
    """A missing file, another file and an empty folder each give a sentence."""
    with pytest.raises(SossInputError, match="does not exist"):
        read_truth(tmp_path / "no.asdf")
    (tmp_path / "other_truth.asdf").write_text("#ASDF 1.0.0\n%YAML 1.1\n---\na: 1\n...\n")
    with pytest.raises(SossInputError, match="not a file with the truth"):
        read_truth(tmp_path / "other_truth.asdf")
    (tmp_path / "sub").mkdir()
    with pytest.raises(SossInputError, match="holds no file"):
        read_truths(tmp_path / "sub")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"product": "cal"}, "not 'cal'"),
        ({"nints": 0}, "at least one integration"),
        ({"nints": 2, "segments": 3}, "cannot be divided into 3"),
        ({"nints": 2, "segments": 2, "product": "rate"}, "one segment"),
        ({"subarray": "FULL"}, "not 'FULL'"),
        ({"throughput": (1.0, 0.0, 1.0)}, "must be positive"),
        ({"start": "yesterday"}, "is not a time"),
    ],
)
def test_plans_that_cannot_be_are_refused(change, message):
    """Each value of a plan that makes no sense gives a sentence."""
    with pytest.raises(SossInputError, match=message):
        replace(PLAN, **change)


def test_wavelengths_beside_the_detector_are_refused():
    """A zero order cannot be placed at a wavelength that the order does not have."""
    with pytest.raises(SossInputError, match=r"not 3\.5 um"):
        zero_order_on_trace(1, 3.5, 1.0)
    with pytest.raises(SossInputError, match="no dedicated background"):
        background_plan(PLAN)
