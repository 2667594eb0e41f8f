"""Spectra that are simulated without images, and their files."""

from dataclasses import replace

import numpy as np
import pytest
from stdatamodels.jwst import datamodels

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import make_library
from soss_photcal_steps.simulate.observation import (
    ObservationPlan,
    make_scene,
    zero_order_on_trace,
)
from soss_photcal_steps.simulate.spectra import simulate_spectra
from soss_photcal_steps.simulate.spectrafile import write_spectra
from soss_photcal_steps.simulate.standards import TabulatedSpectrum, standard
from soss_photcal_steps.trace import trace_positions

FLAT = replace(
    standard("p330e"), spectrum=TabulatedSpectrum(np.array([0.1, 9.0]), np.full(2, 2e-8))
)
PLAN = ObservationPlan(FLAT, nints=200, level_left=3.0, side_ratio=1.0, one_over_f=0.0, n_groups=20)
LIT = {1: slice(4, 2044), 2: slice(4, 1650), 3: slice(4, 800)}


@pytest.mark.parametrize(("photom", "unit"), [("filed", "MJy"), ("true", "MJy"), ("none", "DN/s")])
def test_mean_is_the_star_through_the_photom_file(photom, unit):
    """The mean over 200 integrations is flux, flux times filed error, or flux over response."""
    spectra = simulate_spectra(PLAN, photom=photom)
    assert spectra.unit == unit
    for order, one in spectra.orders.items():
        lit = LIT[order]
        truth = one.truth
        expected = {
            "true": np.full(2048, 2e-8),
            "filed": 2e-8 * truth.filed_error,
            "none": 2e-8 / truth.response,
        }[photom][lit][: one.wavelength.size]
        assert one.expected[lit] == pytest.approx(expected, rel=1e-6)
        pull = (one.flux[:, lit].mean(axis=0) - expected) / (one.error[0, lit] / np.sqrt(200))
        assert abs(pull.mean()) < 0.2
        assert pull.std() == pytest.approx(1, abs=0.1)


def test_scatter_is_the_quoted_error_without_stripes_and_larger_with_them():
    """The scatter is the error within 2 per cent; 1/f noise comes on top of it."""
    bare = simulate_spectra(PLAN).orders[2]
    lit = np.s_[:, 4:1650]
    ratio = bare.flux[lit].std(axis=0) / bare.error[lit].mean(axis=0)
    assert np.median(ratio) == pytest.approx(1, abs=0.02)
    striped = simulate_spectra(replace(PLAN, one_over_f=0.2)).orders[2]
    factor = striped.truth.response * striped.truth.filed_error * 40 * 0.2
    extra = striped.flux[lit].var(axis=0) - striped.error[lit].mean(axis=0) ** 2
    assert np.median(np.sqrt(np.maximum(extra, 0)) / factor[4:1650]) == pytest.approx(1, abs=0.1)


def test_error_follows_from_the_detector():
    """The error is that of Poisson and read noise of 40 pixels, as computed by hand."""
    one = simulate_spectra(PLAN, photom="none").orders[1]
    at = 1200
    electrons = 1.6 * 20 * 5.494
    star = 2e-8 / one.truth.response[at]
    read = 11.0 / 1.6 / 5.494 * np.sqrt(12 / (20 * (400 - 1)))
    by_hand = np.sqrt((star + 40 * 3.0 * 1.6) / electrons + 40 * read**2)
    assert one.error[0, at] == pytest.approx(by_hand, rel=1e-3)


def test_fast_spectra_are_what_the_images_hold():
    """With one order alone and no noise, spectra and boxes on the image agree to 0.001."""
    hit = zero_order_on_trace(1, 1.4, 60.0)
    plan = replace(
        PLAN, nints=1, noise=False, star_scatter=0.0, zero_orders=(hit,),
        throughput=(1.0, 1e-12, 1e-12),
    )  # fmt: skip
    scene = make_scene(plan, make_library(1)).truth
    rows = np.arange(256)[:, None]
    weight = np.clip(20.5 - np.abs(rows - trace_positions(1)), 0, 1)
    seen = (weight * (scene.star + scene.field)).sum(axis=0)
    fast = simulate_spectra(plan, photom="none").orders[1].flux[0]
    assert fast[4:2044] == pytest.approx(seen[4:2044], rel=1e-3)
    clean = simulate_spectra(replace(plan, zero_orders=()), photom="none").orders[1]
    excess = fast / clean.flux[0]
    peak = np.nanargmax(excess)
    assert excess[peak] > 1.05
    assert clean.wavelength[peak] == pytest.approx(1.4, abs=0.01)


def test_background_that_is_left_in():
    """A residual of 0.1 and -0.2 DN/s per pixel adds 4 and takes 8 DN/s of 40 pixels."""
    quiet = replace(PLAN, nints=1, noise=False, star_scatter=0.0)
    one = simulate_spectra(quiet, photom="none", background_residual=(0.1, -0.2)).orders[1]
    zero = simulate_spectra(quiet, photom="none").orders[1]
    change = one.flux[0] - zero.flux[0]
    assert change[100] == pytest.approx(4.0) and change[1500] == pytest.approx(-8.0)


def test_seed_gives_the_spectra_back():
    """The same seed gives the same spectra, another seed or noise seed others."""
    plan = replace(PLAN, nints=2)
    one, two = simulate_spectra(plan).orders[1], simulate_spectra(plan).orders[1]
    assert np.array_equal(one.flux, two.flux, equal_nan=True)
    for change in ({"seed": 5}, {"noise_seed": 5}):
        other = simulate_spectra(replace(plan, **change)).orders[1]
        assert not np.array_equal(one.flux, other.flux, equal_nan=True)


def test_columns_that_see_no_light_are_nan():
    """The four reference columns at each side have no pixel, no flux and no error."""
    one = simulate_spectra(replace(PLAN, nints=2)).orders[1]
    blind = np.r_[0:4, 2044:2048]
    assert np.isnan(one.flux[:, blind]).all() and np.isnan(one.error[:, blind]).all()
    assert (one.npixels[blind] == 0).all()
    assert np.isfinite(one.flux[:, 4:2044]).all()
    assert one.npixels[4:2044] == pytest.approx(40)


def test_file_has_the_layout_of_the_pipeline(tmp_path):
    """Three orders of 2048, 1783 and 800 descending wavelengths, a row for each integration."""
    plan = replace(PLAN, nints=5, segments=2)
    spectra = simulate_spectra(plan)
    paths = write_spectra(spectra, tmp_path)
    assert [p.name for p in paths] == [
        "jw01512001001_03102_00001-seg001_nis_x1dints.fits",
        "jw01512001001_03102_00001-seg002_nis_x1dints.fits",
    ]
    found = []
    for number, path in enumerate(paths, 1):
        with datamodels.open(path) as model:
            assert type(model) is datamodels.TSOMultiSpecModel
            model.validate()
            assert model.meta.exposure.type == "NIS_SOSS"
            assert model.meta.exposure.segment_number == number
            assert model.meta.instrument.pupil_position == PLAN.pwcpos
            assert model.meta.soss_extract1d.width == 40
            assert model.meta.cal_step.photom == "COMPLETE"
            assert [s.spectral_order for s in model.spec] == [1, 2, 3]
            for spec, size in zip(model.spec, (2048, 1783, 800), strict=True):
                table = spec.spec_table
                assert table["WAVELENGTH"].shape[1] == size == table["N_ALONGDISP"][0]
                assert (np.diff(table["WAVELENGTH"][0]) < 0).all()
                units = {c.name: c.unit for c in table.columns}
                assert (units["FLUX"], units["FLUX_ERROR"], units["WAVELENGTH"]) == (
                    "MJy", "MJy", "um",
                )  # fmt: skip
                assert (table["SEGMENT"] == number).all()
            table = model.spec[1].spec_table
            found += table["INT_NUM"].tolist()
            first = table["INT_NUM"][0] - 1
            flux = spectra.orders[2].flux[first : first + len(table)]
            assert np.array_equal(table["FLUX"], flux, equal_nan=True)
            assert (np.diff(table["MJD-AVG"]) > 0).all()
    assert found == [1, 2, 3, 4, 5]


def test_files_of_uncalibrated_spectra_say_so(tmp_path):
    """Without a photom file the unit is DN/s and the step is marked as skipped."""
    plan = replace(PLAN, nints=1, product="rate")
    (path,) = write_spectra(simulate_spectra(plan, photom="none"), tmp_path)
    assert path.name == "jw01512001001_03102_00001_nis_x1d.fits"
    with datamodels.open(path) as model:
        assert model.spec[0].spec_table.columns["FLUX"].unit == "DN/s"
        assert model.meta.cal_step.photom == "SKIPPED"
        assert model.meta.visit.tsovisit is False


def test_requests_that_cannot_be_are_refused(tmp_path):
    """No star, an unknown photom file, and a rate of several integrations give sentences."""
    with pytest.raises(SossInputError, match="no spectra"):
        simulate_spectra(ObservationPlan(None))
    with pytest.raises(SossInputError, match="not 'new'"):
        simulate_spectra(PLAN, photom="new")
    with pytest.raises(SossInputError, match="mean of 200"):
        write_spectra(simulate_spectra(replace(PLAN, product="rate")), tmp_path)
