"""Members of a calibration, and the state of a run."""

import json

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photcal.demo import demo_rows, demo_table
from soss_photcal_steps.photcal.members import group_members, read_association
from soss_photcal_steps.photcal.spec2_input import product_root, spectra_name
from soss_photcal_steps.photcal.state import State, stage_key


def exposure(path, program, observation, extension="SCI", segment=1, mjd=60000.0, **cards):
    """Write a small file that says what it is."""
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"EXP_TYPE": "NIS_SOSS", "PROGRAM": f"{program:05d}", "OBSERVTN": f"{observation:03d}",
         "TARGNAME": "STAR", "EXSEGNUM": segment, "EXPSTART": mjd, **cards}
    )  # fmt: skip
    fits.HDUList([primary, fits.ImageHDU(np.zeros((2, 2)), name=extension)]).writeto(path)
    return path.name


def association(folder, members, **more):
    """Write an association."""
    path = folder / "asn.json"
    path.write_text(json.dumps({"products": [{"name": "out", "members": members, **more}]}))
    return path


def test_members_are_sorted_into_observations(tmp_path):
    """Segments come in order, kinds are told apart, and backgrounds find their observation."""
    names = [
        (exposure(tmp_path / "b_rateints.fits", 1, 2, segment=2), "science"),
        (exposure(tmp_path / "a_rateints.fits", 1, 2, segment=1), "science"),
        (exposure(tmp_path / "c_x1d.fits", 3, 4, "EXTRACT1D"), "stability"),
        (exposure(tmp_path / "d_rate.fits", 1, 9, mjd=60100.0), "science"),
        (exposure(tmp_path / "e_rate.fits", 1, 10, mjd=60099.0), "background"),
        (exposure(tmp_path / "f_rate.fits", 1, 11, mjd=60001.0), "background"),
        (exposure(tmp_path / "g_rate.fits", 7, 1), "background"),
    ]
    (tmp_path / "h_sossratio.asdf").write_bytes(b"#ASDF")
    members = [{"expname": name, "exptype": kind} for name, kind in names]
    members.append({"expname": "h_sossratio.asdf"})
    name, read = read_association(association(tmp_path, members))
    observations, failures = group_members(read)
    assert name == "out"
    found = {
        one.name: (one.kind, one.exptype, [p.rpartition("/")[2][0] for p in one.files],
                   [p.rpartition("/")[2][0] for p in one.background])
        for one in observations
    }  # fmt: skip
    assert found == {
        "1/2": ("rate", "science", ["a", "b"], ["f"]),
        "3/4": ("x1d", "stability", ["c"], []),
        "1/9": ("rate", "science", ["d"], ["e"]),
        "h_sossratio.asdf": ("ratio", "science", ["h"], []),
    }
    assert [what for what, _ in failures] == ["g_rate.fits"]
    assert "background_for" in failures[0][1]


def test_a_background_goes_where_it_is_told_to(tmp_path):
    """With background_for a background of another program is taken."""
    exposure(tmp_path / "a_rate.fits", 1, 2)
    exposure(tmp_path / "b_rate.fits", 7, 1)
    members = [
        {"expname": "a_rate.fits"},
        {"expname": "b_rate.fits", "exptype": "background", "background_for": "1/2"},
    ]
    observations, failures = group_members(read_association(association(tmp_path, members))[1])
    assert failures == []
    assert len(observations[0].background) == 1


def test_bad_members_are_left_out_by_name(tmp_path):
    """A missing file, another mode and mixed kinds are failures; the rest goes on."""
    exposure(tmp_path / "a_rate.fits", 1, 2)
    exposure(tmp_path / "a_x1d.fits", 1, 2, "EXTRACT1D")
    exposure(tmp_path / "b_rate.fits", 1, 3, EXP_TYPE="NIS_IMAGE")
    exposure(tmp_path / "c_rate.fits", 1, 4)
    names = ["a_rate.fits", "a_x1d.fits", "b_rate.fits", "c_rate.fits", "none_rate.fits"]
    members = [{"expname": name} for name in names]
    observations, failures = group_members(read_association(association(tmp_path, members))[1])
    assert [one.name for one in observations] == ["1/4"]
    assert sorted(what for what, _ in failures) == ["1/2", "b_rate.fits", "none_rate.fits"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "not a readable association"),
        ("[]", "not a readable association"),
        ('{"products": []}', "has 0 products"),
        ('{"products": [{"name": "../x", "members": [{"expname": "a"}]}]}', "no path is wanted"),
        ('{"products": [{"members": [{"exptype": "science"}]}]}', "no expname"),
        ('{"products": [{"members": [{"expname": "a", "exptype": "imprint"}]}]}', "type imprint"),
        ('{"products": [{"members": [{"expname": "a"}, {"expname": "./a"}]}]}', "more than once"),
        ('{"products": [{"members": [{"expname": "a", "exptype": "background"}]}]}', "no member"),
    ],
)
def test_a_wrong_association_is_one_sentence(tmp_path, content, sentence):
    """What is wrong with an association is said in one sentence with its name."""
    path = tmp_path / "asn.json"
    path.write_text(content)
    with pytest.raises(SossInputError, match=sentence) as caught:
        read_association(path)
    assert "asn.json" in str(caught.value)


@settings(max_examples=50, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["products", "members", "expname", "exptype", "name"]), inner, max_size=3)
), max_leaves=12))  # fmt: skip
def test_any_json_is_read_or_refused(tmp_path_factory, content):
    """Whatever JSON an association holds, it is read or refused with a sentence."""
    path = tmp_path_factory.mktemp("any") / "asn.json"
    path.write_text(json.dumps(content))
    refused = ""
    members = []
    try:
        _, members = read_association(path)
    except SossInputError as error:
        refused = str(error)
    assert ("asn.json" in refused) != bool(members)


def test_names_of_products():
    """Spectra are named after their rates, and ratios after the spectra without segments."""
    assert spectra_name("/a/jw1-seg001_nis_rateints.fits") == "jw1-seg001_nis_x1dints.fits"
    assert spectra_name("jw1_nis_rate.fits") == "jw1_nis_x1d.fits"
    assert product_root(["/a/jw1-seg001_nis_x1dints.fits", "b"]) == "jw1_nis"
    assert product_root(["/a/jw1-seg001_nis_x1dints.fits"]) == "jw1-seg001_nis"
    with pytest.raises(SossInputError, match="_rateints"):
        spectra_name("jw1_nis_cal.fits")


@pytest.fixture
def run(tmp_path):
    """Make an input, a product and the key of a stage."""
    source, product = tmp_path / "in.fits", tmp_path / "out.fits"
    source.write_bytes(b"input")
    product.write_bytes(b"product")
    key = stage_key([str(source)], {"a": 1.5, "b": None}, ["1.0"])
    return tmp_path, source, product, key


def test_a_finished_stage_is_remembered(run):
    """With the same key and an unchanged product the stage is not run again."""
    folder, source, product, key = run
    path = str(folder / "state.json")
    state = State(path)
    assert state.products("stage", key) is None
    state.done("stage", key, [str(product)])
    again = State(path)
    assert again.products("stage", key) == [str(product)]
    assert again.products("other", key) is None
    assert State(path, force=True).products("stage", key) is None
    assert stage_key([str(source)], {"b": None, "a": 1.5}, ["1.0"]) == key


@pytest.mark.parametrize("change", ["input", "parameter", "version", "product", "gone", "state"])
def test_any_change_makes_a_stage_run_again(run, change):
    """Another input, parameter or version, a changed or missing product, or a damaged state."""
    folder, source, product, key = run
    path = folder / "state.json"
    State(str(path)).done("stage", key, [str(product)])
    if change == "input":
        source.write_bytes(b"inpuT")
    elif change == "product":
        product.write_bytes(b"producT")
    elif change == "gone":
        product.unlink()
    elif change == "state":
        path.write_text(path.read_text()[:-5])
    key = stage_key(
        [str(source)], {"a": 2.0 if change == "parameter" else 1.5, "b": None},
        ["1.1" if change == "version" else "1.0"],
    )  # fmt: skip
    assert State(str(path)).products("stage", key) is None


def test_the_demo_s_table_compares_medians():
    """A result 1 per cent above the truth shows as +1.00 %, with its limit per range."""
    x = np.linspace(0.85, 2.8, 500)
    truth = 1 - 0.05 * (x - 0.85)
    found = {1: (x, 1.01 * truth, 0.002 * np.ones(500))}
    rows = demo_rows(found, {1: (x, truth)})
    assert len(rows) == 5
    for row in rows:
        assert row.difference == pytest.approx(1.0, abs=1e-9)
        assert row.limit >= 1.0
    assert demo_table(rows).count("+1.00 %") == 5
