"""Associations from headers: what is taken, what is left out and why."""

import json

import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps.asn.choose import ChooseOptions, choose_files
from soss_photcal_steps.asn.headers import FileRecord, read_record
from soss_photcal_steps.cli import main
from soss_photcal_steps.photcal.members import group_members, read_association
from soss_photcal_steps.ratio.standards import load_standards

TABLE = load_standards()


def record(path, program, observation, target="P330E", level="rate", **changes):
    """Give a record of a SOSS exposure."""
    given = {
        "instrument": "NIRISS", "exp_type": "NIS_SOSS", "filter": "CLEAR",
        "program": str(program), "observation": str(observation), "targets": (target,),
        "exposure": ("1",), "integrations": True,
    }  # fmt: skip
    return FileRecord(path, level, **(given | changes))


def exposure(path, program, observation, extension="SCI", shape=(2, 2, 2), **cards):
    """Write a small file that says what it is."""
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"INSTRUME": "NIRISS", "EXP_TYPE": "NIS_SOSS", "FILTER": "CLEAR", "TARGNAME": "P330E",
         "PROGRAM": f"{program:05d}", "OBSERVTN": f"{observation:03d}", "EXPSTART": 60000.0,
         "EXPOSURE": "1", **cards}
    )  # fmt: skip
    data = fits.ImageHDU(np.zeros(shape), name=extension)
    fits.HDUList([primary, data]).writeto(path)
    return str(path)


def reasons(choice):
    """Give why each file is left out."""
    return dict(choice.left)


def types(choice):
    """Give the type of each file that is taken."""
    return {one.record.path: one.exptype for one in choice.taken}


def test_roles_are_those_of_the_report():
    """All observations of Table 3 get their roles, and the test star of section 8 its own."""
    everything = [
        record(f"{star.name} {one.program}/{one.observation}", one.program, one.observation,
               star.name)
        for star in TABLE.stars
        for one in star.observations
    ]  # fmt: skip
    choice = choose_files(everything, TABLE)
    count = {kind: list(types(choice).values()).count(kind) for kind in set(types(choice).values())}
    assert count == {"science": 7, "stability": 26, "test": 1}
    assert (choice.left, dict(choice.missing)) == ((), {})
    # By program and observation as numbers, not as text.
    numbers = [(int(one.record.program), int(one.record.observation)) for one in choice.taken]
    assert numbers == sorted(numbers)


def test_what_is_left_out_says_why():
    """Each file that is of no use is left out with its own reason."""
    choice = choose_files(
        [
            record("good", 6606, 42),
            record("tacq", 6606, 42, exp_type="NIS_TACQ"),
            record("wfss", 6606, 42, exp_type="NIS_WFSS"),
            record("nircam", 6606, 42, exp_type="NRC_TSGRISM", instrument="NIRCAM"),
            record("f277w", 6606, 42, filter="F277W"),
            record("uncal", 6606, 42, level="uncal"),
            record("bsub", 6606, 42, subtracted=True),
            record("wasp", 6606, 43, "WASP-39"),
            record("unnamed", "", ""),
        ],
        TABLE,
    )
    assert types(choice) == {"good": "science"}
    found = reasons(choice)
    assert found["tacq"] == "a target acquisition"
    assert found["wfss"] == "no SOSS exposure (NIRISS, NIS_WFSS)"
    assert found["nircam"] == "no SOSS exposure (NIRCAM, NRC_TSGRISM)"
    assert "through F277W" in found["f277w"]
    assert found["uncal"] == "neither rates nor extracted spectra, but uncal"
    assert found["bsub"] == "its background is subtracted already"
    assert found["wasp"] == "WASP-39 is no standard star that the table knows"
    assert found["unnamed"] == "it does not say its program and observation"


def test_one_level_of_an_observation_is_taken():
    """Of rates, spectra and ratio the last is taken, or the one that is asked for."""
    files = [
        record("a_rate", 6606, 42, integrations=False),
        record("a_rateints", 6606, 42),
        record("a_rateints2", 6606, 42, segment=2),
        record("a_x1dints", 6606, 42, level="x1d"),
        record("b_rateints", 6606, 24),
    ]
    assert set(types(choose_files(files, TABLE))) == {"a_x1dints", "b_rateints"}
    choice = choose_files(files, TABLE, ChooseOptions(prefer="rate"))
    assert set(types(choice)) == {"a_rateints", "a_rateints2", "b_rateints"}
    assert reasons(choice)["a_rate"] == "the integrations of this exposure are taken, not the mean"
    assert "the rate product is taken, not the x1d" in reasons(choice)["a_x1dints"]


def test_position_finds_the_star_and_a_background_its_observation():
    """A wrong name is put right by the position; a background goes to the nearest in time."""
    star = TABLE.by_name("GSPC P330-E")
    choice = choose_files(
        [
            record("first", 6606, 42, "UNNAMED", ra=star.ra, dec=star.dec, mjd=60000.0),
            record("later", 6606, 24, mjd=60300.0),
            record("sky", 6606, 43, "P330E-BKG", is_background=True, mjd=60290.0),
            record("other", 1, 1, "SKY", is_background=True),
        ],
        TABLE,
    )
    assert types(choice) == {"first": "science", "later": "science", "sky": "background"}
    sky = next(one for one in choice.taken if one.record.path == "sky")
    assert sky.member("x") == {
        "expname": "x", "exptype": "background", "background_for": "6606/24",
    }  # fmt: skip
    assert "of program 1 there is none here" in reasons(choice)["other"]


def test_the_user_s_wishes():
    """Programs, excluded observations, test stars, and listed ones only, as the user says."""
    files = [record("a", 6606, 42), record("b", 1538, 12, "P177D"), record("c", 9999, 1)]
    files.append(record("d", 1516, 99, "HD 1"))
    assert set(types(choose_files(files, TABLE, ChooseOptions(programs=("6606",))))) == {"a"}
    choice = choose_files(files, TABLE, ChooseOptions(exclude=("6606/42",), only_listed=True))
    assert set(types(choice)) == {"b"}
    assert reasons(choice)["c"] == "observation 9999/1 is not in the table of standards"
    choice = choose_files(files, TABLE, ChooseOptions(test_stars=("P177-D", "hd 1")))
    assert types(choice) == {"a": "science", "b": "test", "c": "science", "d": "test"}
    assert choice.taken[-1].note == "not in the table of standards, taken for science"


@pytest.mark.parametrize(
    ("name", "background"),
    [("BD+60-1753-BKG", True), ("BACKGROUND", True), ("P330E SKY", True), ("SKYLARK-1", False)],
)
def test_names_of_backgrounds(tmp_path, name, background):
    """A target that is called a background is one, also where BKGDTARG does not say so."""
    path = exposure(tmp_path / "a_rate.fits", 1, 2, TARGNAME=name)
    assert read_record(path).is_background == background


@pytest.fixture
def folder(tmp_path):
    """Make a folder of exposures, spectra, and things that are neither."""
    place = tmp_path / "data"
    (place / "deeper").mkdir(parents=True)
    exposure(place / "jw1_rateints.fits", 6606, 42, EXSEGNUM=1)
    exposure(place / "jw2_rateints.fits", 6606, 42, EXSEGNUM=2)
    exposure(place / "jw3_rate.fits", 6606, 43, shape=(2, 2), BKGDTARG=True, TARGNAME="BKG")
    exposure(place / "jw4_x1dints.fits", 1539, 2, "EXTRACT1D", TARGNAME="BD+60 1753")
    exposure(place / "jw5_rate.fits", 6606, 44, TARGNAME="WASP-39", shape=(2, 2))
    exposure(place / "deeper" / "jw6_x1dints.fits", 1538, 12, "EXTRACT1D", TARGNAME="P177D")
    (place / "broken_rate.fits").write_bytes(b"SIMPLE  =                    T")
    (place / "notes.txt").write_text("mine")
    return place


def test_build_writes_what_soss_photcal_reads(folder, tmp_path, capsys):
    """The association has relative paths and the right types, and is read as it was meant."""
    output = tmp_path / "campaign_asn.json"
    assert main(["asn", "build", str(folder), "--recursive", "-o", str(output)]) == 0
    told = capsys.readouterr().out
    assert "WASP-39 is no standard star" in told
    assert "broken_rate.fits" in told
    assert "GSPC P330-E: 4498/24, 6606/24" in told
    name, members = read_association(output)
    observations, failures = group_members(members)
    assert (name, failures) == ("campaign", [])
    found = {one.name: (one.exptype, one.kind, len(one.files), len(one.background))
             for one in observations}  # fmt: skip
    assert found == {
        "1538/12": ("science", "x1d", 1, 0),
        "1539/2": ("stability", "x1d", 1, 0),
        "6606/42": ("science", "rate", 2, 1),
    }
    listed = json.loads(output.read_text())["products"][0]["members"]
    assert listed[0]["expname"] == "data/deeper/jw6_x1dints.fits"
    assert main(["asn", "check", str(output)]) == 0
    assert "all of it can be used" in capsys.readouterr().out


def test_what_is_built_is_an_association_of_jwst(folder):
    """The reader of associations that jwst has accepts it."""
    from jwst.associations import load_asn

    # It warns of members in another folder.
    output = folder / "campaign_asn.json"
    assert main(["asn", "build", str(folder), "-o", str(output)]) == 0
    with output.open() as stream:
        found = load_asn(stream)
    assert len(found["products"][0]["members"]) == 4


def test_build_takes_what_asn_from_list_makes(folder):
    """An association of asn_from_list, all of it science, gets its types by the headers."""
    from jwst.associations.asn_from_list import asn_from_list
    from jwst.associations.lib.rules_level3_base import DMS_Level3_Base

    files = sorted(path.name for path in folder.glob("jw*.fits"))
    given = asn_from_list(files, rule=DMS_Level3_Base, product_name="list")
    (folder / "list.json").write_text(given.dump()[1])
    output = folder / "new_asn.json"
    assert main(["asn", "build", str(folder / "list.json"), "-o", str(output)]) == 0
    kinds = [one["exptype"] for one in json.loads(output.read_text())["products"][0]["members"]]
    assert sorted(kinds) == ["background", "science", "science", "stability"]


def test_nothing_is_overwritten(folder, tmp_path, capsys):
    """A file that exists is refused, and stays as it is."""
    output = tmp_path / "mine.json"
    output.write_text("mine")
    assert main(["asn", "build", str(folder), "-o", str(output)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert output.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["empty"], "no FITS file and no ratio product"),
        (["data", "--program", "777"], "Nothing is left to calibrate with"),
        (["data", "--exclude", "6606"], "such as 6606/42"),
        (["bad.json"], "bad.json is not a readable association"),
        (["data", "--name", "a/b"], "no path is wanted"),
    ],
)
def test_unusable_input_is_one_sentence(folder, tmp_path, monkeypatch, capsys, arguments, said):
    """What cannot be used is said, with exit status 1, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text('{"products": 3}')
    assert main(["asn", "build", *arguments, "-o", "out.json"]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_check_finds_what_is_wrong(folder, tmp_path, capsys):
    """A missing file, an unknown star and mixed photom files are problems, with exit status 1."""
    exposure(folder / "k1_x1d.fits", 1, 1, "EXTRACT1D", TARGNAME="P330E", R_PHOTOM="crds://a.fits")
    exposure(folder / "k2_x1d.fits", 1, 2, "EXTRACT1D", TARGNAME="P177D", R_PHOTOM="crds://b.fits")
    names = ["k1_x1d.fits", "k2_x1d.fits", "jw5_rate.fits", "gone_rate.fits"]
    members = [{"expname": name, "exptype": "science"} for name in names]
    path = folder / "asn.json"
    path.write_text(json.dumps({"products": [{"name": "out", "members": members}]}))
    assert main(["asn", "check", str(path)]) == 1
    told = capsys.readouterr().out
    for text in ("problems (3)", "gone_rate.fits", "WASP-39", "a.fits, b.fits"):
        assert text in told
