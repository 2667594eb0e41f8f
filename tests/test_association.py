import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps import SossInputError
from soss_photcal_steps.association import (
    describe,
    first_exposure,
    list_products,
    with_other_segments,
)


def member(name, kind="science"):
    """Make a member of an association."""
    return {"expname": name, "exptype": kind}


def write_asn(*products):
    """Write an association of (name, members) in the current folder."""
    content = {"products": [{"name": name, "members": members} for name, members in products]}
    Path("asn.json").write_text(json.dumps(content))
    return "asn.json"


@pytest.fixture
def segments(rateints):
    """Give the names of three segments of an exposure, and of an exposure of its own."""
    names = ["jw_a-seg001.fits", "jw_a-seg002.fits", "jw_a-seg003.fits", "jw_b.fits"]
    for number, name in enumerate(names, 1):
        shutil.copy(rateints, name)
        values = {"EXSEGNUM": number if number < 4 else 1, "FILTER": "CLEAR"}
        values |= {"SUBARRAY": "SUBSTRIP256", "PROGRAM": "01512", "OBSERVTN": "001"}
        values |= {"VISIT": "001", "EXPOSURE": "00001" if number < 4 else "00002"}
        for key, value in values.items():
            fits.setval(name, key, value=value)
    return names


def listed(data):
    """List the products with their segments."""
    products = list_products(data)
    return with_other_segments(products, [describe(p.science) for p in products])


def test_single_file(rateints):
    """A file is one product, named after it, and is what CRDS is asked about."""
    (product,) = listed(rateints)
    assert (product.name, product.science, product.fit_with) == (rateints, rateints, ())
    assert first_exposure(Path(rateints)) == rateints


def test_data_model(rateints):
    """A data model is one product, named after its file."""
    with datamodels.open(rateints) as model:
        (product,) = listed(model)
        assert product.science is model
        assert product.name == rateints
        assert product.as_dict()["members"] == [member(model)]


def test_several_members_of_a_product(segments):
    """Each science member becomes a product of its name; other kinds of members go with each."""
    members = [*map(member, segments[:2]), member("sky.fits", "Background")]
    path = write_asn(("jw_a", [*members, member("self.fits", "selfcal")]))
    first, second = listed(path)
    assert [first.name, second.name] == segments[:2]
    assert (first.fit_with, second.fit_with) == ((segments[1],), (segments[0],))
    assert first.background == second.background == ("sky.fits",)
    assert first.as_dict()["members"] == [member(segments[0]), member("self.fits", "selfcal")]


def test_segments_in_several_products(segments):
    """Segments are found in different products by their headers, and share background members."""
    path = write_asn(
        ("third", [member(segments[2])]),
        ("other", [member(segments[3])]),
        ("first", [member(segments[0]), member("sky.fits", "background")]),
    )
    third, other, first = listed(path)
    assert [p.name for p in (third, other, first)] == ["third", "other", "first"]
    assert third.fit_with == (segments[0],) and first.fit_with == (segments[2],)
    assert other.fit_with == () and other.background == ()
    assert third.background == first.background == ("sky.fits",)


def test_list_of_files(segments):
    """A list of files works as an association of them does, in its order."""
    products = listed([segments[1], Path(segments[0])])
    assert [p.name for p in products] == [segments[1], segments[0]]
    assert products[0].fit_with == (segments[0],)


def test_members_are_beside_the_association(segments, tmp_path, monkeypatch):
    """Members are looked for in the folder of the association."""
    write_asn(("jw_b", [member(segments[3])]))
    monkeypatch.chdir("/")
    (product,) = listed(str(tmp_path / "asn.json"))
    assert product.science == str(tmp_path / segments[3])


def test_same_segment_twice(segments):
    """The same segment in two products is refused with the names of both."""
    shutil.copy(segments[0], "copy.fits")
    with pytest.raises(SossInputError, match=r"jw_a-seg001\.fits and copy\.fits are the same"):
        listed([segments[0], "copy.fits"])


@pytest.mark.parametrize("data", [[], None, 3])
def test_no_input(data):
    """What is no input is refused with what would be one."""
    with pytest.raises(SossInputError, match="needs rate or rateints"):
        list_products(data)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not an association"),
        ('{"products": [{"members": ["a.fits"]}]}', "is not an association"),
        ('{"products": [{"name": "a", "members": []}]}', "no member of exptype science"),
    ],
)
def test_bad_association(tmp_path, text, match):
    """A JSON file that is no association, or has no science member, is refused."""
    path = tmp_path / "asn.json"
    path.write_text(text)
    with pytest.raises(SossInputError, match=match):
        list_products(str(path))


def test_describe_refuses_other_files(rateints):
    """A file of another kind, or none, gives a sentence with its name."""
    Path("table.csv").write_text("a,b")
    for name, match in (("table.csv", "neither a FITS file"), ("none.fits", "does not exist")):
        with pytest.raises(SossInputError, match=rf"{name}.*{match}"):
            describe(name)
    fits.PrimaryHDU(np.ones((3, 3))).writeto("plain.fits")
    with pytest.raises(SossInputError, match=r"plain\.fits has no extension SCI"):
        describe("plain.fits")
