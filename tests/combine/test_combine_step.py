"""The combine step, as a user runs it."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from campaign_files import make_ratios, write_list

from soss_photcal_steps.combine import pictures
from soss_photcal_steps.combine.combine_step import SossPhotomCombineStep
from soss_photcal_steps.combine.inputs import read_ratio_product
from soss_photcal_steps.combine.product import check_settings
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.models import (
    SossPhotomCorrectionModel,
    SossRatioModel,
    open_product,
    plain_orders,
)
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.ratio.standards import load_standards
from soss_photcal_steps.simulate import instrument
from soss_photcal_steps.simulate.campaign import report_campaign
from soss_photcal_steps.simulate.references import write_references

STRUN = Path(sys.executable).with_name("strun")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make the ratio products of a campaign of the report's shape, with few visits."""
    folder = tmp_path_factory.mktemp("made")
    photom = shutil.copy(write_references(folder / "references")["photom"], folder)
    campaign = report_campaign(3, stability=2, max_nints=4, grey_scatter=0.003, shape_scatter=0.001)
    names = make_ratios(campaign, folder, photom)
    write_list(folder / "asn.json", names, "campaign")
    return folder, Path(photom).name, names


@pytest.fixture
def campaign(made, tmp_path):
    """Copy the products, the association and the photom file to a folder of the test's own."""
    folder, photom, names = made
    for name in (*names, photom, "asn.json"):
        shutil.copy(folder / name, tmp_path)
    return tmp_path, photom, names


def combine(folder, photom, what="asn.json", **parameters):
    """Run the step without certifying."""
    given = {"check": False, **parameters}
    return SossPhotomCombineStep.call(
        str(folder / what) if isinstance(what, str) else what,
        photom=str(folder / photom), save_results=True, output_dir=str(folder), **given,
    )  # fmt: skip


def test_strun_makes_a_photom_file_that_may_be_delivered(campaign):
    """Under strun the new file has the true response to 0.6 %, and no error of any check."""
    folder, photom, names = campaign
    before = {name: (folder / name).read_bytes() for name in (*names, photom)}
    done = subprocess.run(
        [STRUN, "soss_photom_combine", "asn.json", f"--photom={photom}", "--author=A. Tester",
         "--save_plots=true"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {name: (folder / name).read_bytes() for name in before} == before
    new = read_photom(folder / "campaign_photom.fits")
    for row, (low, high) in ((new.rows[0], (0.9, 2.8)), (new.rows[1], (0.63, 0.94))):
        x = row.wavelength
        inside = (x > low) & (x < high)
        truth = instrument.response(row.order, x[inside])
        found = row.photmj * row.relresponse[inside]
        assert np.abs(found / truth - 1).max() < 0.006
        error = row.reluncertainty[inside] / row.relresponse[inside]
        assert (error > 0).all()
        assert np.median(error) < 0.01
    header = new.header
    assert header["AUTHOR"] == "A. Tester"
    assert header["PEDIGREE"] == "INFLIGHT 2022-06-05 2025-05-22"
    drawn = {path.name.removeprefix("campaign_sosscorr-") for path in folder.glob("*.png")}
    assert drawn == {
        f"{kind}{order}.png" for kind in ("order", "influence", "response") for order in (1, 2)
    }
    with open_product(folder / "campaign_sosscorr.asdf", SossPhotomCorrectionModel) as model:
        assert model.photom.verdict == "may be delivered"
        assert model.photom.new_file == "campaign_photom.fits"
        inputs = model.meta.soss_photcal.instance["soss_photom_combine"]["inputs"]
    assert [one["name"] for one in inputs] == [photom, *names]


def test_the_report_s_eight_curves_come_out(campaign):
    """Visits for stability count as one curve, so order 1 has eight curves of five stars."""
    folder, photom, _ = campaign
    with combine(folder, photom) as model:
        first = plain_orders(model)[0]
        stars = list(first["curves"]["stars"])
        assert len(stars) == 8
        assert len(set(stars)) == 5
        assert stars.count("BD+60 1753") == 2
        assert stars.count("GSPC P330-E") == 3
        assert set(first["influence"]) == set(stars)
        # The splice takes order 2 from 1091/2, which ends at 1.0 um.
        assert 0.99 < plain_orders(model)[1]["valid_range"][1] <= 1.0
        assert set(first["means"]) == {"clipped", "weighted", "random_effects"}
        assert {one.role for one in model.observations} == {
            "calibration", "stability",
        }  # fmt: skip


def test_hot_and_solar_stars_are_compared(campaign):
    """The difference of hot and solar stars is that of their plain means, to its error."""
    folder, photom, _ = campaign
    with combine(folder, photom) as model:
        entry = plain_orders(model)[0]
        kinds = entry["kinds"]
        assert (list(kinds["names"]), list(kinds["n_stars"])) == (["hot", "solar"], [3, 2])
        ratio, stars = np.array(entry["curves"]["ratio"]), np.array(entry["curves"]["stars"])
        inside = np.isfinite(ratio).all(axis=0)
        by_star = {
            star: ratio[stars == star][:, inside].mean() for star in dict.fromkeys(stars.tolist())
        }
        error, sigma = float(kinds["mean_error"]), np.array(entry["observation_sigma"])
    solar = [value for star, value in by_star.items() if star.startswith("GSPC")]
    hot = [value for star, value in by_star.items() if not star.startswith("GSPC")]
    assert (len(hot), len(solar)) == (3, 2)
    assert kinds["mean"] == pytest.approx(np.mean(hot) - np.mean(solar), abs=error)
    assert 0 < error < 0.05
    assert np.nanmax(sigma) > 0


def test_the_chosen_mean_is_what_the_file_holds(campaign):
    """With each method the new response is the old one over that mean."""
    folder, photom, _ = campaign
    old = read_photom(folder / photom).rows[0]
    for method in ("clipped", "weighted", "random_effects"):
        with combine(folder, photom, method=method) as model:
            entry = plain_orders(model)[0]
            assert entry["method"] == method
            known = np.isfinite(entry["correction"])
            x, mean = np.array(entry["wavelength"])[known], np.array(entry["correction"])[known]
        new = read_photom(folder / "campaign_photom.fits").rows[0]
        inside = (old.wavelength > x[0]) & (old.wavelength < x[-1])
        expected = old.relresponse / np.interp(old.wavelength, x, mean)
        np.testing.assert_allclose(new.relresponse[inside], expected[inside], rtol=2e-5)


def test_rows_that_are_not_derived_are_kept_bit_for_bit(campaign):
    """Order 3 and F277W, and order 2 if it is not asked for, are the old rows."""
    folder, photom, _ = campaign
    combine(folder, photom, orders=[1]).close()
    old, new = (read_photom(folder / name).rows for name in (photom, "campaign_photom.fits"))
    assert not np.array_equal(old[0].relresponse, new[0].relresponse)
    for one, other in zip(old[1:], new[1:], strict=True):
        assert one.relresponse.tobytes() == other.relresponse.tobytes()
        assert one.wavelength.tobytes() == other.wavelength.tobytes()


def test_products_on_the_command_line_and_models_give_the_same(campaign):
    """Several files, a list of models, and the association have the same correction."""
    folder, photom, names = campaign
    with combine(folder, photom) as model:
        expected = np.array(plain_orders(model)[0]["correction"])
    models = [open_product(folder / name, SossRatioModel) for name in names]
    for given in ([str(folder / name) for name in names], models, names[::-1]):
        items = [str(folder / one) if isinstance(one, str) else one for one in given]
        with combine(folder, photom, items, output_file=str(folder / "list")) as model:
            np.testing.assert_allclose(
                np.array(plain_orders(model)[0]["correction"]), expected, rtol=1e-12
            )
    for model in models:
        model.close()


def test_restrictions_leave_out_what_they_say(campaign):
    """A star and a range that the table excludes are not in the curves."""
    folder, photom, _ = campaign
    (folder / "out.csv").write_text(
        "star,observation,order,low,high\nG191-B2B,,,,\nGSPC P177-D,,1,2.0,3.0\n"
    )
    with combine(folder, photom, restrictions=str(folder / "out.csv")) as model:
        first = plain_orders(model)[0]
        assert "G191-B2B" not in first["curves"]["stars"]
        row = first["curves"]["stars"].index("GSPC P177-D")
        used = np.array(first["curves"]["used"])[row]
        assert not used[np.array(first["wavelength"]) > 2.0].any()
        assert used[np.array(first["wavelength"]) < 1.9].any()
        assert any("G191-B2B" in note for note in model.notes)


def spoil(path, group, name, value):
    """Change a value of a saved ratio product."""
    with open_product(path, SossRatioModel) as model:
        setattr(getattr(model, group), name, value)
        model.save(path)


def test_the_association_leaves_out_what_it_says(campaign):
    """A member that is excluded is not used, and a range of another is left out of its curve."""
    folder, photom, names = campaign
    listed = json.loads((folder / "asn.json").read_text())
    members = listed["products"][0]["members"]
    members[0]["excluded"] = True
    limited = next(i for i, name in enumerate(names) if name.startswith("jw06606024"))
    members[limited]["restrictions"] = [{"order": 1, "low": 1.4, "high": 1.6, "note": "by hand"}]
    (folder / "less.json").write_text(json.dumps(listed))
    with combine(folder, photom, "less.json") as model:
        files = [one.file for one in model.observations]
        assert files == names[1:]
        assert any("6606/24" in note and "by hand" in note for note in model.notes)
        entry = plain_orders(model)[0]
        row = list(entry["curves"]["observations"]).index("6606/24")
        x, used = np.array(entry["wavelength"]), np.array(entry["curves"]["used"])[row]
    inside = (x > 1.401) & (x < 1.599)
    assert not used[inside].any()
    assert used[(x > 1.2) & (x < 1.39)].all()


@pytest.mark.parametrize(
    ("restrictions", "said"),
    [
        ("all", "must be a list of mappings"),
        ([{"orders": 1}], "unknown field orders"),
        ([{"order": 1, "low": 2.0, "high": 1.0}], "covers nothing"),
        ([{"order": "one"}], "must be numbers"),
    ],
)
def test_restrictions_that_cannot_be_meant(campaign, restrictions, said):
    """A restriction of a member that is not right is named with the member."""
    folder, photom, names = campaign
    listed = json.loads((folder / "asn.json").read_text())
    listed["products"][0]["members"][0]["restrictions"] = restrictions
    (folder / "less.json").write_text(json.dumps(listed))
    with pytest.raises(SossInputError, match=said) as error:
        combine(folder, photom, "less.json")
    assert names[0] in str(error.value)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("extraction", "width", 30.0), ("extraction", "method", "atoca"),
        ("calibration", "photom_checksum", "0" * 64), ("observation", "pwcpos", 240.0),
        ("observation", "filter", "F277W"),
    ],
)  # fmt: skip
def test_ratios_that_do_not_belong_together_are_refused(campaign, group, name, value):
    """Another width, method, photom file, wheel angle or filter is refused; its file is named."""
    folder, photom, names = campaign
    spoil(folder / names[4], group, name, value)
    with pytest.raises(SossInputError, match=names[4].replace(".", r"\.")):
        combine(folder, photom)
    assert not (folder / "campaign_photom.fits").exists()


def test_settings_that_may_differ_are_said(campaign):
    """Other Tikhonov factors, jwst versions and subarrays of products are noted, not refused."""
    folder, _, names = campaign
    for name, factor, version in zip(names, (1e-13, 3e-13), ("1.18.0", "3.0.0"), strict=False):
        spoil(folder / name, "extraction", "tikhonov_factor", factor)
        spoil(folder / name, "calibration", "cal_version", version)
    spoil(folder / names[0], "observation", "subarray", "SUBSTRIP96")
    products = [read_ratio_product(folder / name, load_standards(None)) for name in names[:4]]
    notes = check_settings(products)
    assert "The Tikhonov factor of ATOCA ranges from 1e-13 to 3e-13 over 2 observations." in notes
    assert "Different jwst versions: 1.18.0, 3.0.0." in notes
    assert "Different subarrays: SUBSTRIP256, SUBSTRIP96." in notes


def test_another_photom_file_is_refused(campaign):
    """A photom file with another checksum than the ratios name is refused."""
    folder, photom, _ = campaign
    other = folder / "other.fits"
    shutil.copy(folder / photom, other)
    fits.setval(other, "AUTHOR", value="somebody else")
    with pytest.raises(SossInputError, match="checksum is another"):
        combine(folder, "other.fits")
    with pytest.raises(SossInputError, match="does not exist"):
        combine(folder, "none.fits")
    with pytest.raises(SossInputError, match=f"{photom} .* is needed; name it"):
        SossPhotomCombineStep.call(str(folder / "asn.json"))


@pytest.mark.parametrize("what", ["missing", "damaged", "other", "twice", "empty", "no members"])
def test_unusable_input_is_one_sentence(campaign, what):
    """A missing, damaged, foreign or repeated member is a sentence, and nothing is written."""
    folder, photom, names = campaign
    content = json.loads((folder / "asn.json").read_text())
    members = content["products"][0]["members"]
    if what == "missing":
        (folder / names[0]).unlink()
    elif what == "damaged":
        data = (folder / names[0]).read_bytes()
        (folder / names[0]).write_bytes(data[: len(data) // 3])
    elif what == "other":
        (folder / names[0]).write_text("nothing of the kind")
    elif what == "twice":
        shutil.copy(folder / names[0], folder / "copy.asdf")
        members.append({"expname": "copy.asdf", "exptype": "science"})
    elif what == "no members":
        members.clear()
    (folder / "asn.json").write_text("" if what == "empty" else json.dumps(content))
    if what in ("missing", "damaged"):
        done = subprocess.run(
            [STRUN, "soss_photom_combine", "asn.json", f"--photom={photom}"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert names[0] in done.stdout + done.stderr
    else:
        with pytest.raises(SossInputError):
            combine(folder, photom)
    assert not (folder / "campaign_photom.fits").exists()
    assert not (folder / "campaign_sosscorr.asdf").exists()


def test_the_trend_of_the_visits_goes_into_the_file(tmp_path, monkeypatch):
    """A loss of 3 % a year is found, is in the time tables, and is not in the response."""
    photom = shutil.copy(write_references(tmp_path / "references")["photom"], tmp_path)
    campaign = report_campaign(
        1, stability=6, max_nints=4, grey_scatter=0, shape_scatter=0, loss_per_year=0.03
    )
    few = [one for one in campaign.observations if one.star.calspec in ("bd60d1753", "p330e")]
    write_list(
        tmp_path / "asn.json",
        make_ratios(dataclasses.replace(campaign, observations=tuple(few)), tmp_path, photom),
        "campaign",
    )
    drawn = []
    draw = pictures.figures

    def only_the_trend(*args):
        drawn.append(draw(*args)["sosscorr-trend"])
        return {"sosscorr-trend": drawn[0]}

    monkeypatch.setattr(pictures, "figures", only_the_trend)
    with combine(
        tmp_path, Path(photom).name, orders=[1], time_tables=True, save_plots=True
    ) as model:
        trend = model.trends.instance["1"]
    # The picture shows the visits as they were measured, not after the trend was taken out.
    assert (tmp_path / "campaign_sosscorr-trend.png").stat().st_size > 10_000
    axis = drawn[0].axes[0]
    days, values = axis.lines[1].get_data()
    assert "linear" in axis.get_title(loc="left")
    assert len(days) == 6
    loss_of_visits = -np.polyfit(days, values / 100, 1)[0] * 365
    assert loss_of_visits == pytest.approx(trend["values"][1], rel=0.1)
    assert trend["kind"] == "linear"
    # Of a throughput that is below 1 already, the loss is the larger part.
    t0 = (trend["t0"] - 59731.0) / 365.25
    loss = 0.03 / (1 - 0.03 * t0)
    assert trend["values"][1] == pytest.approx(loss, abs=max(0.001, 3 * trend["errors"][1]))
    new = read_photom(tmp_path / "campaign_photom.fits")
    table = new.time_tables["timecoeff_linear"]
    assert table["lossperyear"][0] == pytest.approx(trend["values"][1], rel=1e-5)
    assert (table["lossperyear"][1:] == 0).all()
    row = new.rows[0]
    inside = (row.wavelength > 0.95) & (row.wavelength < 2.3)
    found = row.photmj * row.relresponse[inside] * (1 - 0.03 * t0)
    truth = instrument.response(1, row.wavelength[inside])
    assert np.abs(found / truth - 1).max() < 0.004
