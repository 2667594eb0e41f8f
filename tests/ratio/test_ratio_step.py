"""The ratio step, as a user runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.models import SossRatioModel, open_product
from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.ratio.ratio_step import SossRatioStep
from soss_photcal_steps.simulate import instrument
from soss_photcal_steps.simulate.calspec import write_model
from soss_photcal_steps.simulate.campaign import report_campaign
from soss_photcal_steps.simulate.spectra import simulate_spectra
from soss_photcal_steps.simulate.spectrafile import write_spectra

# Where each order of P330-E has signal, um.
SIGNAL = {1: (0.9, 2.8), 2: (0.63, 0.94)}


def plan(program, observation, **changes):
    """Give an observation of the report's list, of a star whose model is right."""
    import dataclasses

    campaign = report_campaign(grey_scatter=0, shape_scatter=0, max_nints=20)
    found = next(
        one
        for one in campaign.observations
        if (one.program, one.observation) == (program, observation)
    )
    return dataclasses.replace(found, **changes)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Write spectra of P330-E in one file, and its model."""
    folder = tmp_path_factory.mktemp("given")
    observation = plan(6606, 42)
    spectra = simulate_spectra(observation)
    (path,) = write_spectra(spectra, folder)
    write_model(observation.star, folder / "p330e_mod_sim.fits")
    return folder, Path(path), spectra


@pytest.fixture
def files(given, tmp_path):
    """Copy the spectra and the model to a folder of the test's own."""
    folder, path, spectra = given
    for name in (path.name, "p330e_mod_sim.fits"):
        shutil.copy(folder / name, tmp_path)
    return tmp_path / path.name, tmp_path / "p330e_mod_sim.fits", spectra


def run(path, model, **parameters):
    """Run the step without saving."""
    return SossRatioStep.call(path, model=str(model), **parameters)


def change(path, function):
    """Edit a file of spectra with astropy."""
    with fits.open(path, mode="update") as hdus:
        function(hdus)


def test_strun_recovers_the_known_ratio(files):
    """Under strun the ratio has a reduced chi square of 0.8 to 1.25, its curve is within 0.2 %."""
    path, model, spectra = files
    before = path.read_bytes()
    done = subprocess.run(
        [Path(sys.executable).with_name("strun"), "soss_ratio", path.name,
         f"--calspec_dir={path.parent}", "--model=p330e_mod_sim.fits", "--save_plots=true"],
        cwd=path.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before
    product = path.with_name(path.name.replace("_x1dints.fits", "_sossratio.asdf"))
    with open_product(product, SossRatioModel) as result:
        orders = result.order_ratios()
        assert result.star.name == "GSPC P330-E"
        assert result.observation.n_integrations == 20
        assert result.observation.n_frames == 20 * spectra.n_groups
        inputs = result.meta.soss_photcal.instance["soss_ratio"]["inputs"]
    assert [one["name"] for one in inputs] == [path.name, model.name]
    assert all(len(one["sha256"]) == 64 for one in inputs)
    for order, (low, high) in SIGNAL.items():
        one = orders[order]
        truth = instrument.filed_error(order, one.wavelength)
        good = (one.mask == 0) & (one.wavelength > low) & (one.wavelength < high)
        assert good.mean() > 0.3
        pull = ((one.ratio - truth) / one.ratio_error)[good]
        assert 0.8 < np.mean(pull**2) < 1.25
        inside = (one.wavelength > low) & (one.wavelength < high)
        assert np.abs(one.fit / truth - 1)[inside].max() < (0.003 if order == 1 else 0.01)
        assert np.median(np.abs(one.fit / truth - 1)[inside]) < 0.002
    for ending in ("sossratio", "sossspectra"):
        assert product.with_name(product.name.replace("sossratio.asdf", f"{ending}.png")).exists()


def test_contamination_is_outside_the_fit(files):
    """A zero order raises the ratio by several per cent, and the curve below it by none."""
    path, model, spectra = files
    one = run(path, model).order_ratios()[1]
    light = spectra.orders[1].truth.contamination / spectra.orders[1].truth.counts
    light = np.interp(one.wavelength, *_rising(spectra.orders[1].truth.wavelength, light))
    hit = light > 0.02
    assert hit.sum() > 3
    assert (one.mask[hit] != 0).all()
    truth = instrument.filed_error(1, one.wavelength)
    assert (one.ratio / truth - 1)[hit].max() > 0.02
    assert np.abs(one.fit / truth - 1)[hit].max() < 0.003


def test_order_2_ends_where_order_1_comes_in(files, tmp_path):
    """Order 2 of a star without a range of its own ends at 1.0 um, unless the user says else."""
    path, model, spectra = files
    assert spectra.orders[2].truth.wavelength.max() > 1.35
    one = run(path, model).order_ratios()[2]
    beyond = one.wavelength > 1.0
    assert beyond.sum() > 700
    assert (one.mask[beyond] & Mask.OUT_OF_RANGE).all() and np.isnan(one.fit[beyond]).all()
    assert not (one.mask[~beyond] & Mask.OUT_OF_RANGE).any()
    assert one.wavelength[np.isfinite(one.fit)].max() > 0.99
    own = tmp_path / "own.yaml"
    own.write_text("stars: []\ndefault_ranges:\n- {order: 2, valid: [0.0, 1.1]}\n")
    for settings, end in (({"standards": str(own)}, 1.1), ({"mask_ranges": False}, np.inf)):
        other = run(path, model, **settings).order_ratios()[2]
        out = (other.mask & Mask.OUT_OF_RANGE) != 0
        np.testing.assert_array_equal(out, other.wavelength > end)


def _rising(x, y):
    order = np.argsort(x)
    return x[order], y[order]


def test_segments_give_what_one_file_gives(tmp_path, files):
    """Two segments, as a list in any order or as an association, have the ratio of one file."""
    whole_path, model, _ = files
    folder = tmp_path / "segments"
    folder.mkdir()
    parts = write_spectra(simulate_spectra(plan(6606, 42, segments=2)), folder)
    assert len(parts) == 2
    whole = run(whole_path, model).order_ratios()
    names = [str(part) for part in parts]
    association = folder / "asn.json"
    members = [{"expname": Path(name).name, "exptype": "science"} for name in names]
    association.write_text(json.dumps({"products": [{"name": "x", "members": members}]}))
    for item in (names, names[::-1], str(association)):
        found = run(item, model).order_ratios()
        for order, one in whole.items():
            np.testing.assert_array_equal(found[order].ratio, one.ratio)
            np.testing.assert_array_equal(found[order].n_used, one.n_used)


def test_excluded_integrations_do_not_count(files):
    """Integrations that are excluded are in no mean, and the product says how many are."""
    path, model, _ = files
    change(path, lambda hdus: hdus["EXTRACT1D", 1].data["FLUX"].__setitem__(slice(0, 3), 1.0))
    result = run(path, model, exclude="1-3")
    assert result.observation.n_integrations == 17
    assert result.order_ratios()[1].n_used.max() == 17
    with pytest.raises(SossInputError, match="21"):
        run(path, model, exclude="21")


def test_fluxes_in_another_unit_are_found_out(files):
    """Fluxes in Jy under the label MJy stop the step, which names Jy; flux_unit settles it."""
    path, model, _ = files
    expected = run(path, model).order_ratios()[1].ratio

    def scale(hdus):
        for hdu in hdus[1:]:
            if hdu.name == "EXTRACT1D":
                hdu.data["FLUX"] *= 1e6
                hdu.data["FLUX_ERROR"] *= 1e6

    change(path, scale)
    with pytest.raises(SossInputError, match=r"e\+05.*in Jy; set flux_unit to Jy"):
        run(path, model)
    found = run(path, model, flux_unit="Jy").order_ratios()[1].ratio
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_uncalibrated_order_is_refused(files):
    """An order that the photom step left in DN/s is named."""
    path, model, _ = files

    def uncalibrate(hdus):
        header = hdus["EXTRACT1D", 2].header
        key = next(k for k in header["TTYPE*"] if header[k] == "FLUX")
        header[key.replace("TTYPE", "TUNIT")] = "DN/s"

    change(path, uncalibrate)
    with pytest.raises(SossInputError, match=r"order 2 .* DN/s.*not calibrated"):
        run(path, model)


def set_cards(**cards):
    """Give a function that sets header cards."""

    def edit(hdus):
        for key, value in cards.items():
            hdus[0].header[key.replace("_DATE", "-DATE")] = value

    return edit


@pytest.mark.parametrize(
    ("cards", "sentence"),
    [
        ({"EXP_TYPE": "NIS_IMAGE"}, "NIS_SOSS, are needed"),
        ({"INSTRUME": "NIRSPEC"}, "NIRISS, EXP_TYPE NIS_SOSS, are needed"),
        ({"FILTER": "F277W"}, "only CLEAR"),
    ],
)
def test_other_data_are_refused(files, cards, sentence):
    """Spectra of another mode, instrument or filter are refused with what is needed."""
    path, model, _ = files
    change(path, set_cards(**cards))
    with pytest.raises(SossInputError, match=sentence):
        run(path, model)


def test_unknown_star_needs_a_model(files):
    """A target that is no standard is refused with the known names, and goes with a model."""
    path, model, _ = files
    change(path, set_cards(TARGNAME="HD 1", TARGPROP="HD 1", TARG_RA=10.0, TARG_DEC=-10.0))
    with pytest.raises(SossInputError, match=r"HD 1.*no standard star.*GSPC P330-E"):
        SossRatioStep.call(path)
    result = run(path, model)
    assert result.star.name == "HD 1"
    assert result.star.identified_by == "given"


def test_wrong_name_in_the_header_is_found_by_position(files):
    """The position tells the star where the name does not, and the log says so."""
    path, model, _ = files
    change(path, set_cards(TARGNAME="WRONG", TARGPROP="WRONG"))
    result = run(path, model)
    assert result.star.name == "GSPC P330-E"
    assert result.star.identified_by == "position"


def test_missing_calspec_file_is_named(files, network):
    """Without the CALSPEC file and without a network, the sentence says which and where."""
    path, _, _ = files
    with pytest.raises(SossInputError, match=r"p330e_stiswfcnic_007\.fits .*calspec_dir"):
        SossRatioStep.call(path, download=False)
    assert network == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "no spectra"])
def test_unreadable_input_is_one_sentence_under_strun(files, damage):
    """A missing, truncated or foreign file ends with one sentence and status 1."""
    path, model, _ = files
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:50000])
    elif damage == "text":
        path.write_text("not fits")
    else:
        fits.PrimaryHDU().writeto(path, overwrite=True)
        change(path, set_cards(INSTRUME="NIRISS", EXP_TYPE="NIS_SOSS", FILTER="CLEAR"))
    done = subprocess.run(
        [Path(sys.executable).with_name("strun"), "soss_ratio", path.name, f"--model={model.name}"],
        cwd=path.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert path.name in done.stderr + done.stdout
    assert not list(path.parent.glob("*sossratio*"))


def test_one_integration_and_one_order(tmp_path, files):
    """A single integration of a single order has the quoted error and a curve."""
    _, model, _ = files
    folder = tmp_path / "one"
    folder.mkdir()
    spectra = simulate_spectra(plan(6606, 42, nints=1, segments=1), orders=(1,))
    (path,) = write_spectra(spectra, folder)
    orders = run(path, model).order_ratios()
    assert list(orders) == [1]
    one = orders[1]
    quoted = np.interp(
        one.wavelength, *_rising(spectra.orders[1].wavelength, spectra.orders[1].error[0])
    )
    good = one.mask == 0
    np.testing.assert_allclose(one.observed_error[good], 1e6 * quoted[good], rtol=1e-6)
    assert np.isfinite(one.fit[good]).all()


def test_bad_values_are_masked_and_do_not_spread(files):
    """NaN, infinite and zero fluxes of one integration leave the others' mean."""
    path, model, _ = files
    clean = run(path, model).order_ratios()[1]

    def spoil(hdus):
        flux = hdus["EXTRACT1D", 1].data["FLUX"]
        flux[0, 100:110], flux[1, 200], flux[:, 300] = np.nan, np.inf, 0.0

    change(path, spoil)
    one = run(path, model).order_ratios()[1]
    # Wavelengths fall in the file.
    n = one.wavelength.size
    assert (one.n_used[n - 110 : n - 100] <= 19).all()
    assert one.mask[n - 301] & Mask.NOT_FINITE
    np.testing.assert_allclose(one.observed[n - 110 : n - 100], clean.observed[n - 110 : n - 100],
                               rtol=0.01)  # fmt: skip
    others = np.ones(n, bool)
    others[[*range(n - 110, n - 100), n - 201, n - 301]] = False
    np.testing.assert_array_equal(one.observed[others], clean.observed[others])


def test_user_masks_and_fixed_curves(files, tmp_path):
    """A table masks intervals, a fixed degree is kept, and no fit is made."""
    path, model, _ = files
    table = tmp_path / "mask.csv"
    table.write_text("order,low,high,kind\n1,1.40,1.45,user\n1,1.9,1.95,contamination\n")
    result = run(
        path, model, mask_table=str(table), order1_fit="legendre", order1_degree=5,
        order2_fit="none",
    )  # fmt: skip
    orders = result.order_ratios()
    x = orders[1].wavelength
    assert (orders[1].mask[(x > 1.40) & (x < 1.45)] & Mask.USER).all()
    assert (orders[1].mask[(x > 1.9) & (x < 1.95)] & Mask.CONTAMINATION).all()
    (section,) = orders[1].fit_description["sections"]
    assert (section["method"], section["degree"]) == ("legendre", 5)
    assert orders[2].fit_description["status"] == "not fitted"
    assert np.isnan(orders[2].fit).all()
    table.write_text("order,low,high\n1,1.45,1.40\n")
    with pytest.raises(SossInputError, match=r"Row 1 of .*mask\.csv"):
        run(path, model, mask_table=str(table))


def test_mixed_observations_are_refused(files, tmp_path):
    """Files of two observations in one list are refused, and the odd one is named."""
    path, model, _ = files
    folder = tmp_path / "other"
    folder.mkdir()
    (other,) = write_spectra(simulate_spectra(plan(6606, 24, nints=2, segments=1)), folder)
    with pytest.raises(SossInputError, match="one observation only"):
        run([str(path), str(other)], model)


def test_product_opens_with_plain_asdf_and_names_the_calibration(files):
    """The saved product says with plain asdf what the spectra were calibrated with."""
    path, model, _ = files
    change(path, set_cards(R_PHOTOM="crds://jwst_niriss_photom_9001.fits"))
    run(path, model, save_results=True, output_dir=str(path.parent))
    product = path.with_name(path.name.replace("_x1dints.fits", "_sossratio.asdf"))
    header = fits.getheader(path)
    with asdf.open(product, lazy_load=False, memmap=False) as content:
        assert content["calibration"]["flux_unit"] == "MJy"
        assert content["calibration"]["photom_file"] == "jwst_niriss_photom_9001.fits"
        assert content["extraction"]["width"] == header["SOSSWDTH"]
        assert content["observation"]["pwcpos"] == header["PWCPOS"]
        assert len(content["orders"]) == 3
