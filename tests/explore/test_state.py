"""The explorer's numbers, without a browser."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps import SossTemplateBackgroundStep
from soss_photcal_steps.background.options import FitOptions
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.explore.load import group_segments, load_exposure
from soss_photcal_steps.explore.setting import Region, Setting, excluded_pixels
from soss_photcal_steps.explore.state import ExplorerState
from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.simulate.write import write_library, write_rate


def test_it_begins_with_the_fit(state, scene):
    """At first the background is that of the fit, within one per cent of the truth."""
    truth = scene.truth.background
    assert not state.by_hand
    assert state.template == 1
    assert np.abs(np.median(state.background() / truth - 1)) < 0.01
    assert np.array_equal(state.after(), state.before - state.fit.result.background, equal_nan=True)
    (left, right), errors = state.fitted_scales
    assert state.scales == (left, right)
    assert (errors > 0).all()
    assert (errors < 0.02).all()


def test_scales_by_hand_scale_the_template(state, library):
    """By hand, the background is the template times the scale, on either side of the break."""
    state.set_scales(0.5, 2.0)
    assert state.by_hand
    ratio = state.background() / library.data[1]
    assert np.allclose(ratio[:, 10:600], 0.5, atol=1e-5)
    assert np.allclose(ratio[:, 900:2040], 2.0, atol=1e-5)
    assert state.levels == pytest.approx(
        np.array([0.5, 2.0]) * state.exposure.templates.levels[1], rel=1e-6
    )


def test_step_at_the_break_tells_wrong_scales(state, library):
    """With the fit's scales order 1 has no step; with 3 per cent too much right it falls."""
    good = state.step()
    assert abs(good.step) < 4 * good.error
    assert good.column == pytest.approx(703, abs=6)
    left, right = state.scales
    state.set_scales(left, 1.03 * right)
    too_much = state.step()
    assert too_much.step < good.step - 4 * good.error
    # The box holds 40 rows, about row 66, of 3 per cent of the sky beside the break.
    light = state.parts_before().spectra[1] - state.parts_background().spectra[1]
    sky = 40 * 0.03 * right * library.data[1][46:87, 730:760].mean()
    expected = -sky / light[int(good.column)]
    assert too_much.step - good.step == pytest.approx(expected, rel=0.15)


def test_spectra_are_linear_in_the_scales(state):
    """The light taken out of a box is that of the background image, however it is computed."""
    from soss_photcal_steps.contamination.mapping import box_light

    for scales in ((1.0, 1.0), (0.3, 1.7), (-0.2, 0.0)):
        state.set_scales(*scales)
        whole = state.background().astype(float)
        for order in (1, 2):
            direct = box_light(whole, state.lines, order, state.exposure.pwcpos, 20.0)
            assert np.allclose(
                state.parts_background().spectra[order],
                direct,
                atol=1e-4 * np.abs(direct).max() + 1e-6,
            )


def test_ranking_has_the_true_template_first(state, scene):
    """The template that made the background is the best, the others are worse."""
    ranking = state.ranking()
    assert ranking[0].template == scene.truth.template_index
    assert sorted(one.template for one in ranking) == [0, 1, 2]
    worse = [one.worse for one in ranking]
    assert worse[0] == 0
    assert worse == sorted(worse)


def test_choosing_a_template_fits_it(state):
    """A chosen template comes with its own fitted scales; None goes back to the best."""
    first = state.scales
    state.set_scales(0.9, 0.9)
    state.choose(2)
    assert state.template == 2
    assert not state.by_hand
    assert state.scales != first
    level = state.levels
    state.choose(None)
    assert state.scales == first
    assert np.allclose(level, state.levels, rtol=0.05)


def test_undo_and_redo(state):
    """A movement is undone as a whole, single actions one by one, and a new one ends redoing."""
    start = state.setting
    for value in (1.0, 1.1, 1.2):
        state.set_scales(value, 1.0, dragging=True)
    state.history.end_drag()
    dragged = state.setting
    state.set_scales(1.3, 1.0)
    assert state.undo()
    assert state.setting == dragged
    assert state.undo()
    assert state.setting == start
    assert not state.undo()
    assert state.redo()
    assert state.setting == dragged
    state.choose(0)
    assert not state.redo()
    assert state.undo()
    assert state.setting == dragged


@given(
    st.lists(
        st.one_of(
            st.tuples(st.floats(0, 3), st.floats(0, 3), st.booleans()),
            st.sampled_from([0, 1, 2, None, "fit"]),
        ),
        max_size=12,
    )
)
@settings(max_examples=25, deadline=None)
def test_undo_takes_everything_back(exposure_state, actions):
    """Whatever is done, undoing all leads to the start, and redoing all to the end."""
    state = exposure_state
    while state.undo():
        pass
    for action in actions:
        if action == "fit":
            state.use_fit()
        elif isinstance(action, tuple):
            state.set_scales(action[0], action[1], dragging=action[2])
        else:
            state.choose(action)
    end = state.setting
    count = 0
    while state.undo():
        count += 1
    assert state.setting == Setting()
    for _ in range(count):
        assert state.redo()
    assert state.setting == end


@pytest.fixture(scope="module")
def exposure_state(exposure):
    """Give a state that many examples share, so that its fits are made once."""
    return ExplorerState(exposure)


@pytest.mark.parametrize("scales", [(np.nan, 1), (1, np.inf), (101, 1), (1, -1e9)])
def test_senseless_scales_are_refused(state, scales):
    """A scale that is no finite number, or beyond 100, changes nothing."""
    with pytest.raises(SossInputError, match="A scale is a number between -100 and 100"):
        state.set_scales(*scales)
    assert state.setting == Setting()


def test_unknown_template_is_refused(state):
    """A template that is not there changes nothing."""
    with pytest.raises(SossInputError, match="no template 3; they are 0 to 2"):
        state.choose(3)
    assert state.setting == Setting()


def test_painted_pixels_are_not_used(state):
    """What is painted is not used by the fit, what is wiped of it is used again."""
    state.paint(Region.box((300, 400), (200, 240)))
    mask = state.mask()
    assert (mask[200:241, 300:401] != 0).all()
    assert state.painted().sum() == 41 * 101
    state.paint(Region.box((350, 400), (200, 240), wipe=True))
    assert state.painted().sum() == 41 * 50
    assert (state.mask()[200:241, 350:401] == 0).mean() > 0.5
    state.clear_mask()
    assert state.painted() is None


def test_painting_keeps_scales_by_hand(state):
    """Scales by hand and their template stay as they are when the mask changes."""
    state.set_scales(0.7, 0.8)
    state.paint(Region.box((300, 400), (200, 240)))
    assert state.scales == (0.7, 0.8)
    assert state.template == 1
    assert state.setting.template == 1


def test_painting_everything_is_refused(state):
    """A mask that leaves no sky on one side is not taken, and the reason is given."""
    with pytest.raises(SossInputError, match="sky pixels are left right"):
        state.paint(Region.box((600, 2047), (0, 255)))
    assert state.setting == Setting()


@given(
    st.lists(
        st.tuples(st.floats(-50, 2100), st.floats(-50, 300), st.floats(1, 400), st.floats(1, 200)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_boxes_cover_the_pixels_whose_centres_they_hold(boxes):
    """Painted boxes hold exactly the pixels that a plain comparison of coordinates gives."""
    rows, columns = np.arange(60, 156), np.arange(2048)
    regions = [Region.box((x, x + w), (y, y + h), wipe=k % 3 == 2)
               for k, (x, y, w, h) in enumerate(boxes)]  # fmt: skip
    expected = np.zeros((96, 2048), bool)
    border = np.zeros((96, 2048), bool)
    for k, (x, y, w, h) in enumerate(boxes):
        inside = ((rows >= y) & (rows <= y + h))[:, None] & ((columns >= x) & (columns <= x + w))
        expected = expected & ~inside if k % 3 == 2 else expected | inside
        # A centre on the line belongs to either side.
        on_row = np.isclose(rows, y) | np.isclose(rows, y + h)
        on_column = np.isclose(columns, x) | np.isclose(columns, x + w)
        border |= on_row[:, None] | on_column
    found = excluded_pixels(regions, rows, 2048)
    found = np.zeros_like(expected) if found is None else found
    assert np.array_equal(found[~border], expected[~border])


@pytest.mark.parametrize(
    ("columns", "rows"), [((1, 2), (1, 2)), ((1, 2, 3), (1, 2)), ((1, 2, np.nan), (1, 2, 3))]
)
def test_bad_regions_are_refused(columns, rows):
    """A region of two corners, of unequal lists, or with NaN is refused."""
    with pytest.raises(SossInputError, match=r"corners"):
        Region(columns, rows)


def test_contaminants_become_intervals(state, scene):
    """The bright zero orders are found, and a click masks the wavelengths of one, or not."""
    with pytest.raises(SossInputError, match="no source 1; 0 are known"):
        state.toggle_source(1)
    count = state.find_contaminants()
    assert count >= 2
    spoiling = next(k for k in range(1, count + 1) if state.rows_of(k))
    assert state.toggle_source(spoiling)
    rows = state.setting.intervals
    assert rows == state.rows_of(spoiling)
    assert all(row.interval.low < row.interval.high for row in rows)
    assert not state.toggle_source(spoiling)
    assert state.setting.intervals == ()
    state.undo()
    assert state.setting.intervals == rows
    harmless = [k for k in range(1, count + 1) if not state.rows_of(k)]
    if harmless:
        with pytest.raises(SossInputError, match="spoils no wavelength"):
            state.toggle_source(harmless[0])


def test_data_without_sky_are_explored_by_hand(exposure):
    """Where the fit fails, the reason is known, and scales by hand still work."""
    state = ExplorerState(exposure, FitOptions(min_pixels=10**7))
    assert "sky pixels" in state.fit.failure
    assert state.by_hand
    assert state.scales == (1.0, 1.0)
    assert np.isnan(state.fitted_scales).all()
    assert [one.template for one in state.ranking()] == [0, 1, 2]
    state.choose(2)
    state.set_scales(0.5, 0.6)
    assert state.template == 2
    right = state.background()[:, 1000:] / exposure.templates.images[2][:, 1000:]
    assert np.allclose(right, 0.6, atol=1e-5)


@pytest.mark.parametrize(
    ("subarray", "filter_name", "rows", "orders"),
    [("SUBSTRIP96", "CLEAR", 96, (1, 2)), ("SUBSTRIP256", "F277W", 256, (1,)),
     ("FULL", "CLEAR", 256, (1, 2))],
)  # fmt: skip
def test_other_subarrays_and_filters(tmp_path, subarray, filter_name, rows, orders):
    """SUBSTRIP96, F277W and the strip of FULL are shown, with their orders and their mask."""
    library = make_library(1, 3, subarray=subarray)
    scene = simulate(
        SceneParams(seed=2, nints=1, star="mid", subarray=subarray, filter=filter_name), library
    )
    write_library(library, tmp_path / "lib.fits")
    with fits.open(tmp_path / "lib.fits", mode="update") as hdus:
        hdus[0].header["FILTER"] = filter_name
    write_rate(scene, tmp_path / "jw_nis_rate.fits")
    exposure = load_exposure(tmp_path / "jw_nis_rate.fits", override_bkg=str(tmp_path / "lib.fits"))
    state = ExplorerState(exposure)
    assert state.before.shape == (rows, 2048)
    assert state.orders == orders
    assert state.fit.failure == ""
    truth = scene.truth.background[-rows:] if subarray != "FULL" else scene.truth.background[1792:]
    assert abs(np.nanmedian(state.background() / truth) - 1) < 0.03
    state.paint(Region.box((100, 120), (float(state.lines[5]), float(state.lines[9]))))
    assert state.painted().shape == scene.truth.background.shape
    assert state.painted_inside()[5:10, 100:121].all()
    assert state.painted().sum() == 5 * 21


def test_files_that_cannot_be_explored(tmp_path, store, rateints):
    """A missing library, a subtracted file, and no FITS file are refused in a sentence each."""
    with pytest.raises(SossInputError, match="override_bkg does not exist"):
        load_exposure(rateints, override_bkg="nothing.fits")
    with pytest.raises(SossInputError, match="not a rate or rateints file"):
        load_exposure(store / "notes.txt", override_bkg=str(store / "lib.fits"))
    (tmp_path / "broken.fits").write_bytes(rateints.read_bytes()[:50_000])
    with pytest.raises(SossInputError, match=r"broken\.fits"):
        load_exposure(tmp_path / "broken.fits", override_bkg=str(store / "lib.fits"))
    copy = tmp_path / "done.fits"
    copy.write_bytes(rateints.read_bytes())
    with fits.open(copy, mode="update") as hdus:
        hdus[0].header["S_BKDSUB"] = "COMPLETE"
    with pytest.raises(SossInputError, match=r"subtracted from done\.fits already"):
        load_exposure(copy, override_bkg=str(store / "lib.fits"))
    one = load_exposure(copy, override_bkg=str(store / "lib.fits"), force=True)
    assert one.combined.n_integrations == 2


def test_without_crds_the_missing_library_is_named(rateints):
    """Without a library and without CRDS, a sentence says what to give."""
    with pytest.raises(SossInputError, match="override_bkg"):
        load_exposure(rateints)


def test_options_of_the_fit_are_used(exposure):
    """With ``combine='never'`` the background is one template, whatever fits."""
    state = ExplorerState(exposure, replace(FitOptions(), combine="never", template=2))
    assert not state.combined
    assert state.template == 1


def test_segments_are_fitted_together(store, segments):
    """Two segments give the scales of the step for both, which differ from those of each."""
    library = str(store / "lib.fits")
    together = ExplorerState(load_exposure(segments[::-1], override_bkg=library))
    assert together.exposure.paths == tuple(segments)
    assert together.exposure.combined.n_integrations == 3
    models = SossTemplateBackgroundStep.call(segments, override_bkg=library)
    record = models[0].meta.soss_photcal.soss_template_bkg
    assert together.scales == pytest.approx(tuple(record.scales), rel=1e-9)
    for path in segments:
        alone = ExplorerState(load_exposure(path, override_bkg=library))
        assert abs(alone.scales[0] / together.scales[0] - 1) > 1e-5


def test_segments_with_and_without_background_are_apart(segments, tmp_path):
    """A segment whose header says that its background was subtracted is a group of its own."""
    one, two = segments
    done = tmp_path / Path(two).name.replace("rateints", "bsubints")
    shutil.copy(two, done)
    fits.setval(done, "S_BKDSUB", value="COMPLETE")
    assert group_segments([one, str(done)]) == [(one,), (str(done),)]
    assert group_segments([one, str(done), two]) == [(one, two), (str(done),)]


def test_files_of_other_exposures_are_not_taken_together(store, segments, rateints):
    """Segments are found in any order; another exposure, a copy and no FITS stay alone."""
    other = store / "notes.asdf"
    other.write_text("nothing")
    one, two = segments
    given = [two, str(rateints), str(other), one, one]
    assert group_segments(given) == [(one, two), (str(rateints),), (str(other),), (one,)]
    twice = [one, one, two, two]
    assert group_segments(twice) == [(one, two), (one, two)]
    with pytest.raises(SossInputError, match="not segments of one exposure"):
        load_exposure([one, rateints], override_bkg=str(store / "lib.fits"))
