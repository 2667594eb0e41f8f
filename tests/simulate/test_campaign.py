"""Campaigns: what is planned, what is written, and that nothing else is touched."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stdatamodels.jwst import datamodels

from soss_photcal_steps.association import list_products
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.calspec import read_calspec
from soss_photcal_steps.simulate.campaign import (
    CAMPAIGN_KINDS,
    Campaign,
    make_campaign,
    report_campaign,
    small_campaign,
)
from soss_photcal_steps.simulate.observation import ObservationPlan
from soss_photcal_steps.simulate.spectra import simulate_spectra
from soss_photcal_steps.simulate.standards import standard
from soss_photcal_steps.simulate.truthfile import read_truth, read_truths
from soss_photcal_steps.simulate.writecampaign import expected_size, write_campaign

PLAN = ObservationPlan(standard("p330e"), 4498, 24, subarray="SUBSTRIP96", n_groups=20)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Write the small campaign, with its references."""
    folder = tmp_path_factory.mktemp("campaign") / "small"
    paths = write_campaign(small_campaign(3), folder)
    assert all(path.is_file() for path in paths)
    return folder


def write_tiny(folder, **options):
    """Write a campaign of one short observation without references."""
    return write_campaign(Campaign("tiny", (PLAN,), n_templates=1), folder, references=False,
                          **options)  # fmt: skip


def test_small_campaign_has_every_kind_of_file(small):
    """There are one-integration rateints, one in two segments, a rate and a background."""
    names = sorted(path.name for path in small.glob("*.fits"))
    assert names == [
        "jw01512001001_03102_00001_nis_rateints.fits",
        "jw01513002001_03102_00001_nis_rateints.fits",
        "jw01514003001_03102_00001-seg001_nis_rateints.fits",
        "jw01514003001_03102_00001-seg002_nis_rateints.fits",
        "jw01515004001_03102_00001_nis_rate.fits",
        "jw01515005001_03102_00001_nis_rate.fits",
    ]
    truths = read_truths(small)
    assert [t.star for t in truths.values()] == ["bd60d1753", "p330e", "bd60d1753", "g191b2b",
                                                 "none"]  # fmt: skip
    for truth in truths.values():
        assert all((small / name).is_file() for name in truth.files)


def test_headers_say_what_real_ones_do(small):
    """Target, numbers, date, position with proper motion, type and subarray are in the header."""
    with datamodels.open(small / "jw01513002001_03102_00001_nis_rateints.fits") as model:
        assert type(model) is datamodels.CubeModel
        model.validate()
        meta = model.meta
        assert (meta.target.catalog_name, meta.target.proposer_name) == ("GSPC P330-E",
                                                                         "GSPC-P330-E")  # fmt: skip
        assert (meta.observation.program_number, meta.observation.observation_number,
                meta.observation.visit_number) == ("01513", "002", "001")  # fmt: skip
        assert meta.observation.date == "2023-03-02"
        # 23.2 years at -0.03877 arcsec per year.
        assert meta.target.dec == pytest.approx(30.14622 - 0.898 / 3600, abs=2e-6)
        assert meta.target.proper_motion_dec == pytest.approx(-0.03877)
        assert meta.exposure.type == "NIS_SOSS" and meta.visit.tsovisit is True
        assert meta.subarray.name == "SUBSTRIP256"
        assert meta.instrument.pupil_position == 245.79
        assert meta.exposure.nints == 1 and meta.exposure.ngroups > 3


def test_segments_are_parts_of_one_exposure(small):
    """Two segments say which integrations they hold and have different noise."""
    data = []
    for number in (1, 2):
        name = f"jw01514003001_03102_00001-seg{number:03d}_nis_rateints.fits"
        with datamodels.open(small / name) as model:
            exposure = model.meta.exposure
            assert (exposure.segment_number, exposure.segment_total) == (number, 2)
            assert exposure.nints == 2
            assert (exposure.integration_start, exposure.integration_end) == (number, number)
            assert model.int_times["integration_number"].tolist() == [number]
            data.append(model.data.copy())
    assert not np.array_equal(*data, equal_nan=True)


def test_rate_is_no_time_series(small):
    """A rate is an image of several integrations whose TSOVISIT is false."""
    with datamodels.open(small / "jw01515004001_03102_00001_nis_rate.fits") as model:
        assert type(model) is datamodels.ImageModel
        assert model.meta.visit.tsovisit is False and model.meta.exposure.nints == 2


def test_association_names_science_and_background(small):
    """The association of the white dwarf is read with its background, and both are there."""
    (product,) = list_products(str(small / "jw01515004001_03102_00001_spec2_asn.json"))
    assert product.science.endswith("jw01515004001_03102_00001_nis_rate.fits")
    assert [name.endswith("jw01515005001_03102_00001_nis_rate.fits") for name in
            product.background] == [True]  # fmt: skip
    with datamodels.open(small / "jw01515005001_03102_00001_nis_rate.fits") as model:
        assert model.meta.observation.bkgdtarg is True
        assert model.meta.target.catalog_name == "BACKGROUND"


@pytest.mark.parametrize(
    "root", ["jw01512001001_03102_00001", "jw01513002001_03102_00001", "jw01515005001_03102_00001"]
)
def test_frame_has_the_background_of_its_truth(small, root):
    """Away from all sources the frame is the background of the truth within 1 per cent."""
    truth = read_truth(small / f"{root}_truth.asdf")
    with datamodels.open(small / truth.files[0]) as model:
        image = model.data[0] if model.data.ndim == 3 else model.data
        good = (model.dq & 1).reshape(-1, *image.shape)[0] == 0
        corner = np.s_[225:250, 450:690]
        ratio = (image / truth.background)[corner][good[corner]]
        # The bright star's wings are light too: 0.2 DN/s there.
        assert np.median(ratio) == pytest.approx(1, abs=0.01 if truth.star == "none" else 0.12)
    assert truth.background[100, 10:600].mean() == pytest.approx(truth.scale_left * 5, rel=0.6)


def test_models_are_beside_the_files(small):
    """Each star's model is a file in the form of CALSPEC with the model's flux."""
    names = sorted(path.name for path in (small / "models").iterdir())
    assert names == ["bd60d1753_mod_sim.fits", "g191b2b_mod_sim.fits", "p330e_mod_sim.fits"]
    spectrum = read_calspec(small / "models" / "p330e_mod_sim.fits")
    assert spectrum(np.array([1.3])) == pytest.approx([0.02969e-6], rel=0.01)


def test_list_has_all_files_and_the_environment(small):
    """campaign.json lists every file in the folder but itself, and the cache's variables."""
    listing = json.loads((small / "campaign.json").read_text())
    there = {path.relative_to(small).as_posix() for path in small.rglob("*") if path.is_file()}
    assert set(listing["files"]) == there - {"campaign.json"}
    assert listing["environment"]["CRDS_PATH"] == str(small / "crds_cache")
    assert listing["campaign"] == "small" and listing["seed"] == 3
    log = (small / "observations.txt").read_text()
    assert log.count("rateints.fits") == 4 and "245.7900" in log


def test_same_seed_gives_the_same_frames(tmp_path):
    """Two folders written with one seed hold the same pixels, with another seed others."""
    frames = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_campaign(
            Campaign("tiny", (replace(PLAN, seed=seed),), seed, n_templates=1), tmp_path / name,
            references=False,
        )  # fmt: skip
        with datamodels.open(tmp_path / name / PLAN.filenames[0]) as model:
            frames.append(model.data.copy())
    assert np.array_equal(frames[0], frames[1], equal_nan=True)
    assert not np.array_equal(frames[0], frames[2], equal_nan=True)


def test_folder_that_holds_something_is_refused(tmp_path):
    """A folder that is not empty is refused with a sentence and left as it is."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SossInputError, match=r"not empty.*--force"):
        write_tiny(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(SossInputError, match="is a file"):
        write_tiny(tmp_path / "mine.txt")


def test_force_replaces_a_simulation_and_nothing_else(tmp_path):
    """With force the files are written anew, and what others put there stays."""
    write_tiny(tmp_path)
    frame = tmp_path / PLAN.filenames[0]
    old = frame.stat().st_mtime_ns
    for name in ("mine.txt", "jw04498024001_03102_00001_nis_x1dints.fits"):
        (tmp_path / name).write_text("mine")
    write_tiny(tmp_path, force=True)
    assert frame.stat().st_mtime_ns > old
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "jw04498024001_03102_00001_nis_x1dints.fits").read_text() == "mine"


@pytest.mark.parametrize("name", [PLAN.filenames[0], "models/p330e_mod_sim.fits"])
def test_force_does_not_touch_what_was_changed(tmp_path, name):
    """A file that was changed since, or is not from a simulation, stops all of it."""
    write_tiny(tmp_path)
    (tmp_path / name).write_bytes(b"changed")
    others = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(SossInputError, match="was changed since"):
        write_tiny(tmp_path, force=True)
    assert {path: path.stat().st_mtime_ns for path in others} == others
    shutil.rmtree(tmp_path / "models")
    (tmp_path / "campaign.json").unlink()
    with pytest.raises(SossInputError, match="not from an earlier simulation"):
        write_tiny(tmp_path, force=True)


def test_file_put_among_the_references_is_kept(tmp_path):
    """A photom file of the user's in the folder of references stops --force."""
    write_tiny(tmp_path)
    mine = tmp_path / "references" / "my_photom.fits"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(SossInputError, match=r"my_photom\.fits is not from an earlier"):
        write_tiny(tmp_path, force=True)
    assert mine.read_bytes() == b"mine"


def test_list_that_is_none_is_refused(tmp_path):
    """A campaign.json that is something else gives a sentence and is kept."""
    (tmp_path / "campaign.json").write_text("[1]")
    with pytest.raises(SossInputError, match="not the list of a simulated campaign"):
        write_tiny(tmp_path, force=True)
    assert (tmp_path / "campaign.json").read_text() == "[1]"


def test_progress_is_told(tmp_path):
    """The function given is called for the templates and each observation."""
    lines = []
    write_tiny(tmp_path / "new" / "deep", progress=lines.append)
    assert len(lines) == 2 and "GSPC P330-E" in lines[1]


def test_report_campaign_is_table_3():
    """There are 33 observations of five stars, 27 of BD+60 1753 and three of P330-E."""
    plans = report_campaign(2).observations
    stars = [plan.star.calspec for plan in plans]
    assert len(plans) == 33
    assert {name: stars.count(name) for name in set(stars)} == {
        "bd60d1753": 27, "p330e": 3, "p177d": 1, "g191b2b": 1, "1743045": 1,
    }  # fmt: skip
    first = plans[0]
    assert (first.program, first.observation, first.nints, first.segments) == (1091, 2, 876, 4)
    assert [plan.start for plan in plans] == sorted(plan.start for plan in plans)
    assert all(abs(plan.pwcpos - 245.76) <= 0.1 for plan in plans)
    usable = {(p.program, o): (low, high) for p in plans for o, low, high in p.usable}
    assert usable[1536, 1][1] == usable[1537, 1][1] == 2.0 and usable[1536, 2][1] == 1.023


def test_standards_campaign_has_one_observation_per_curve():
    """Eight observations remain: 1091, one of stability, three of P330-E, three others."""
    campaign = make_campaign("standards", 2, max_nints=3)
    assert len(campaign.observations) == 8
    assert max(plan.nints for plan in campaign.observations) == 3
    full = {plan.root: plan for plan in report_campaign(2, max_nints=3).observations}
    assert all(full[plan.root] == plan for plan in campaign.observations)
    assert len(campaign.all_plans) == 9
    assert set(CAMPAIGN_KINDS) == {"small", "standards", "report"}


def test_stars_of_the_report_differ_from_their_models_by_the_scatter():
    """Over many seeds the grey errors scatter by 1 per cent, and can be switched off."""
    errors = [
        star.grey_error
        for seed in range(40)
        for star in report_campaign(seed, stability=0, max_nints=1).stars.values()
    ]
    assert np.std(errors) == pytest.approx(0.01, rel=0.2)
    exact = report_campaign(1, grey_scatter=0, shape_scatter=0).stars["p177d"]
    assert exact.true_flux(np.array([1.0])) == exact.model_flux(np.array([1.0]))


@pytest.mark.parametrize(
    ("program", "observation", "order", "wavelength"),
    [
        (1536, 9, 1, 1.55), (1536, 9, 2, 0.77), (1537, 2, 1, 1.116), (1537, 2, 1, 2.004),
        (1537, 2, 2, 0.6584), (1538, 12, 1, 2.115), (1538, 12, 2, 1.068), (4498, 24, 1, 2.4),
    ],
)  # fmt: skip
def test_contamination_is_where_the_report_found_it(program, observation, order, wavelength):
    """An interval of the truth has the wavelength; for P177-D it follows from x=729, y=77."""
    (plan,) = [
        plan
        for plan in report_campaign(1, max_nints=1).observations
        if (plan.program, plan.observation) == (program, observation)
    ]
    intervals = simulate_spectra(plan).orders[order].truth.intervals
    assert any(low <= wavelength <= high for low, high in intervals)


def test_loss_of_throughput_grows_with_time():
    """With 1 per cent a year the counts of May 2025 are 3 per cent lower than those of 2022."""
    plans = report_campaign(1, loss_per_year=0.01).observations
    assert plans[0].throughput == pytest.approx((1, 1, 1), abs=2e-4)
    assert plans[-1].throughput == pytest.approx((0.97, 0.97, 0.97), abs=1e-3)


def test_size_is_estimated():
    """The estimate for the small campaign is 100 to 200 MB, for the report's 20 GB and more."""
    assert 100e6 < expected_size(small_campaign()) < 200e6
    assert expected_size(report_campaign()) > 10e9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_campaign("large"), "not one of small, standards, report"),
        (lambda: make_campaign("report", max_nints=0), "at least one integration"),
        (lambda: report_campaign(stability=27), "0 to 26"),
        (lambda: Campaign("none", ()), "at least one observation"),
        (lambda: Campaign("twice", (PLAN, PLAN)), "are called jw04498024001"),
        (lambda: write_campaign(small_campaign(), "x", photom="new"), "not 'new'"),
    ],
)
def test_plans_that_cannot_be_are_refused(make, message):
    """Each request that makes no sense gives a sentence."""
    with pytest.raises(SossInputError, match=message):
        make()


def test_code_of_the_page_runs(capsys):
    """The code of the campaigns' page runs; its last ratio is that of the filed photom file."""
    text = (Path(__file__).parents[2] / "docs" / "campaigns.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert float(lines[-1].split()[-1]) == pytest.approx(0.96, abs=0.03)
