"""The table of standard stars."""

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.standards import (
    Interval,
    KnownObservation,
    Standard,
    StandardsTable,
    load_standards,
    normalise_name,
)

TABLE = load_standards()


def test_the_table_has_the_report_s_observations():
    """Table 3 of the report has 33 observations of five stars, 26 of them for stability."""
    counts = {star.name: len(star.observations) for star in TABLE.stars}
    assert counts == {
        "BD+60 1753": 27, "2MASS J17430448+6655015": 1, "G191-B2B": 1, "GSPC P177-D": 1,
        "GSPC P330-E": 3, "HD 59533": 1,
    }  # fmt: skip
    roles = [one.role for star in TABLE.stars for one in star.observations]
    assert (roles.count("calibration"), roles.count("stability"), roles.count("test")) == (7, 26, 1)


def test_the_models_are_those_of_table_1():
    """Each standard has the CALSPEC file of Table 1 of the report."""
    assert {star.name: star.calspec for star in TABLE.stars if star.calspec} == {
        "BD+60 1753": "bd60d1753_stiswfc_005.fits",
        "2MASS J17430448+6655015": "1743045_stisnic_009.fits",
        "G191-B2B": "g191b2b_stiswfcnic_004.fits",
        "GSPC P177-D": "p177d_stisnic_011.fits",
        "GSPC P330-E": "p330e_stiswfcnic_007.fits",
    }


def test_contamination_of_section_6_is_there():
    """Each wavelength that section 6 names as contaminated lies in an interval of its order."""
    named = {
        ("G191-B2B", 1537, 2, 1): (0.8536, 1.116, 1.248, 1.337, 1.350, 1.708, 2.004, 2.41),
        ("G191-B2B", 1537, 2, 2): (0.6584, 0.7494, 1.02),
        ("2MASS J17430448+6655015", 1536, 9, 1): (1.55, 2.5),
        ("2MASS J17430448+6655015", 1536, 9, 2): (0.77,),
        ("GSPC P177-D", 1538, 12, 1): (2.115,),
        ("GSPC P177-D", 1538, 12, 2): (1.068,),
        ("GSPC P330-E", 6606, 24, 1): (2.05,),
        ("GSPC P330-E", 6606, 42, 1): (2.05, 1.549),
    }
    for (name, program, observation, order), wavelengths in named.items():
        found = TABLE.by_name(name).observation(program, observation).contamination
        for wavelength in wavelengths:
            assert any(one.order == order and one.low < wavelength < one.high for one in found), (
                name,
                order,
                wavelength,
            )
    hump = TABLE.by_name("P330E").observation("04498", "024").excluded
    assert [(one.order, one.low, one.high) for one in hump] == [(1, 2.1, 2.6)]


@pytest.mark.parametrize(
    ("name", "star"),
    [
        ("BD+60 1753", "BD+60 1753"), ("BD+60-1753", "BD+60 1753"), ("bd60d1753", "BD+60 1753"),
        ("BD+60\u00b01753", "BD+60 1753"), ("BD_+60_1753", "BD+60 1753"),
        ("BD+601753", "BD+60 1753"), ("P330E", "GSPC P330-E"), ("gspc-p330-e", "GSPC P330-E"),
        ("2MASS-J17430448+6655015", "2MASS J17430448+6655015"), ("G191 B2B", "G191-B2B"),
        ("P177-D", "GSPC P177-D"), ("HD  59533", "HD 59533"),
    ],
)  # fmt: skip
def test_names_are_found_in_any_spelling(name, star):
    """Spaces, case, hyphens and signs for degrees do not matter."""
    assert TABLE.by_name(name).name == star


@given(
    st.sampled_from([n for star in TABLE.stars for n in (star.name, *star.aliases)]),
    st.lists(st.sampled_from(["", " ", "-", "_", "  "]), min_size=20, max_size=20),
    st.booleans(),
)
def test_names_are_found_with_any_separators(name, separators, upper):
    """Whatever stands for the spaces of a known name, and in either case, the star is found."""
    parts = name.split(" ")
    spelled = "".join(
        a + b for a, b in zip(parts, [*separators[: len(parts) - 1], ""], strict=True)
    )
    assert TABLE.by_name(spelled.upper() if upper else spelled.lower()) is TABLE.by_name(name)


@given(st.integers(0, 89), st.integers(1, 9999), st.sampled_from(["+", "-"]))
def test_numbers_of_the_durchmusterung_stay_apart(zone, number, sign):
    """Zone, number and sign tell a star; how they are set apart does not."""
    ways = [
        f"BD{sign}{zone:02d}{by}{number}" for by in (" ", "-", "_", "d", "D", "\u00b0", "\u00b0 ")
    ]
    assert len({normalise_name(way) for way in ways}) == 1
    other = f"BD{'-' if sign == '+' else '+'}{zone:02d} {number}"
    assert normalise_name(other) != normalise_name(ways[0])
    assert normalise_name(f"BD{sign}{zone:02d} {number + 1}") != normalise_name(ways[0])


@pytest.mark.parametrize("name", ["", None, "BD+60 1754", "BD-60 1753", "P330", "Vega"])
def test_other_names_are_not_found(name):
    """A similar name of another star is not taken."""
    assert TABLE.by_name(name) is None


@given(st.text(max_size=40))
def test_any_text_can_be_a_name(text):
    """Bringing a name to one spelling never fails, and does nothing the second time."""
    once = normalise_name(text)
    assert normalise_name(once) == once


def test_position_decides_where_the_name_is_wrong():
    """A wrong name at a star's position gives that star with a warning; proper motion counts."""
    g191 = TABLE.by_name("G191-B2B")
    star, by, warning = TABLE.identify(["GSPC P330-E"], g191.ra, g191.dec, 2023.0)
    assert (star.name, by) == ("G191-B2B", "position")
    assert "GSPC P330-E" in warning
    star, by, warning = TABLE.identify(["G191-B2B"], g191.ra, g191.dec, 2023.0)
    assert (star.name, by, warning) == ("G191-B2B", "name", "")
    # 93 mas a year south: in 2100 it has moved by 9.3 arcsec.
    east = 1.27 / 3600 / np.cos(np.radians(g191.dec))
    assert g191.separation(g191.ra + east, g191.dec - 9.342 / 3600, 2100.0) < 0.01
    assert g191.separation(g191.ra, g191.dec, 2100.0) == pytest.approx(9.43, abs=0.1)


def limits(intervals):
    """Give order, low and high of intervals."""
    return [(one.order, one.low, one.high) for one in intervals]


def test_order_2_of_every_observation_ends():
    """Order 2 ends at 1.0 um in all observations but two, to which the report gives another end."""
    ends = {(1536, 9): 1.023, (1537, 2): 1.01}
    entries = [one for star in TABLE.stars for one in star.observations]
    assert len(entries) == 34
    for entry in [None, *entries]:
        known = TABLE.with_defaults(entry)
        end = ends.get((known.program, known.observation), 1.0)
        assert [one for one in limits(known.valid) if one[0] == 2] == [(2, 0.0, end)]


def test_default_ranges_complete_those_of_an_observation():
    """Default ranges hold by order and sort: an excluded range of order 2 leaves its valid one."""
    excluded = Interval(2, 0.70, 0.71)
    known = TABLE.with_defaults(KnownObservation(1, 2, excluded=(excluded,)))
    assert (limits(known.valid), known.excluded) == ([(2, 0.0, 1.0)], (excluded,))
    own = KnownObservation(1, 2, valid=(Interval(2, 0.6, 1.2),))
    assert TABLE.with_defaults(own) == own
    assert StandardsTable(()).with_defaults(None) is None
    assert StandardsTable(()).with_defaults(own) is own


def test_a_user_s_default_ranges(tmp_path):
    """Default ranges of a user's table replace those of the package by order; wrong ones fail."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"stars": [], "default_ranges": [
        {"order": 1, "excluded": [2.0, 2.1]}]}))  # fmt: skip
    ranges = load_standards(str(path)).default_ranges
    assert (limits(ranges.valid), limits(ranges.excluded)) == ([(2, 0.0, 1.0)], [(1, 2.0, 2.1)])
    path.write_text(yaml.safe_dump({"stars": [], "default_ranges": [
        {"order": 2, "valid": [0.6, 1.1]}]}))  # fmt: skip
    assert limits(load_standards(str(path)).default_ranges.valid) == [(2, 0.6, 1.1)]
    path.write_text(
        yaml.safe_dump({"stars": [], "default_ranges": [{"order": 4, "valid": [1, 2]}]})
    )
    with pytest.raises(SossInputError, match="order 4"):
        load_standards(str(path))


def test_the_radius_is_the_caller_s():
    """A position 8 arcsec off is that of the star by default, and not within 5 arcsec."""
    star = TABLE.by_name("BD+60 1753")
    place = star.ra, star.dec + 8 / 3600
    assert TABLE.by_position(*place) is star
    assert TABLE.by_position(*place, radius=5.0) is None
    with pytest.raises(SossInputError, match="no standard star"):
        TABLE.identify(["Vega"], *place, radius=5.0)


def test_a_position_at_a_pole_or_across_zero():
    """Right ascensions 359.9999 and 0.0001 are near, and at a pole none matters."""
    near = Standard("A", ra=0.0001, dec=0.0)
    assert near.separation(359.9999, 0.0) == pytest.approx(0.72, abs=1e-6)
    pole = Standard("B", ra=0.0, dec=90.0, pm_ra=100.0)
    assert pole.separation(123.0, 90.0, 2050.0) < 0.01


def test_the_test_star_has_the_model_of_section_8():
    """HD 59533 is compared with a model of 8000 K, log g 4.0, [M/H] -1.0 and A(V) 0.09."""
    star = TABLE.by_name("HD 59533")
    assert (star.temperature, star.log_g, star.metallicity, star.a_v) == (8000, 4.0, -1.0, 0.09)


def test_order_2_of_the_stability_star_ends_at_one_micron():
    """In all visits of BD+60 1753 order 2 is fitted to 1 um only."""
    for known in TABLE.by_name("BD+60 1753").observations:
        assert [(one.order, one.high) for one in known.valid] == [(2, 1.0)]


def test_a_name_far_from_its_position_is_taken_with_a_warning():
    """Where no star is at the position, the name counts, and the distance is said."""
    star, by, warning = TABLE.identify(["P177D"], 10.0, 10.0, 2023.0)
    assert (star.name, by) == ("GSPC P177-D", "name")
    assert "arcsec" in warning


def test_numbers_are_read_with_or_without_zeros():
    """Program 04498 is 4498; text that is no number, or negative, is none."""
    star = TABLE.by_name("P330E")
    assert star.observation("04498", "024") is star.observation(4498, 24)
    assert star.observation(None, "24") is star.observation("x", -24) is None


def test_an_unknown_star_lists_the_known():
    """A star that is not known is a sentence with the names of those that are."""
    with pytest.raises(SossInputError, match=r"Vega.*BD\+60 1753.*HD 59533"):
        TABLE.identify(["Vega", None], 279.2, 38.8)


def own(tmp_path, content):
    """Write a user's table."""
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_a_user_s_table_adds_and_overrides(tmp_path):
    """A user's star is found; of a known one only what the user names is changed."""
    stars = [
        {"name": "My Star", "kind": "solar", "ra": 1.0, "dec": 2.0, "calspec": "my_001.fits"},
        {"name": "bd+60 1753", "calspec": "other.fits"},
    ]
    table = load_standards(own(tmp_path, {"stars": stars}))
    assert table.by_name("mystar").kind == "solar"
    star, before = table.by_name("BD+60 1753"), TABLE.by_name("BD+60 1753")
    assert star.calspec == "other.fits"
    assert (star.name, star.kind, star.ra) == (before.name, before.kind, before.ra)
    assert star.observations == before.observations
    assert table.by_name("P330E").calspec == "p330e_stiswfcnic_007.fits"
    assert len(table.stars) == len(TABLE.stars) + 1
    assert table.line_windows == TABLE.line_windows


def test_a_user_s_observation_takes_the_place_of_the_known_one(tmp_path):
    """Observations are added, or replaced by number, also of a star named by its alias."""
    interval = {"order": 1, "centre": 1.5, "half_width": "1e-2"}
    seen = [
        {"program": 6606, "observation": 42, "contamination": [interval]},
        {"program": 9999, "observation": 1},
    ]
    table = load_standards(own(tmp_path, {"stars": [{"name": "P330E", "observations": seen}]}))
    star = table.by_name("GSPC P330-E")
    assert star.name == "GSPC P330-E"
    assert [(one.low, one.high) for one in star.observation(6606, 42).contamination] == [
        (1.49, 1.51)
    ]
    assert star.observation(9999, 1) == KnownObservation(9999, 1)
    assert star.observation(6606, 24) == TABLE.by_name("P330E").observation(6606, 24)
    assert len(star.observations) == 4


def test_a_user_s_window_leaves_the_others(tmp_path):
    """A window is overridden by kind and series."""
    content = {"stars": [], "line_windows": {"A": {"Pfund": 0.02}}}
    windows = load_standards(own(tmp_path, content)).line_windows
    assert windows["A"] == {**TABLE.line_windows["A"], "Pfund": 0.02}
    assert windows["hot"] == TABLE.line_windows["hot"]


def test_an_edited_table_is_read_again(tmp_path):
    """What a user changes between two steps of one session counts."""
    path = own(tmp_path, {"stars": [{"name": "One"}]})
    assert load_standards(path).by_name("One")
    own(tmp_path, {"stars": [{"name": "Another"}]})
    assert load_standards(path).by_name("One") is None
    assert load_standards(path).by_name("Another")


STAR = {"name": "A"}
SEEN = {"program": 1, "observation": 2}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[1, 2", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        ("stars: 3", "list stars"),
        ({"stars": [{"kind": "A"}]}, "number 1 has no name"),
        ({"stars": [{**STAR, "kind": "B"}]}, "kind of A is B"),
        ({"stars": [{**STAR, "colour": "red"}]}, "unknown field colour"),
        ({"stars": [{**STAR, "ra": "x"}]}, "ra of A is 'x'"),
        ({"stars": [{**STAR, "ra": float("nan")}]}, "ra of A is nan"),
        ({"stars": [{**STAR, "ra": 1.0, "dec": 91}]}, "dec of A is 91"),
        ({"stars": [{**STAR, "ra": 1.0}]}, "only one of ra and dec"),
        ({"stars": [{**STAR, "temperature": -1}]}, "temperature of A"),
        ({"stars": [STAR, {"name": "a"}]}, "more than once"),
        ({"stars": [STAR, {"name": "B", "aliases": ["A"]}]}, "B comes more than once"),
        ({"stars": [{**STAR, "aliases": "A1"}]}, "aliases of A is 'A1', not a list"),
        ({"stars": [{**STAR, "observations": [SEEN, SEEN]}]}, "observation 1/2 of A comes more"),
        ({"stars": [{**STAR, "observations": [{**SEEN, "contaminated": []}]}]},
         "unknown field contaminated"),
        ({"stars": [{**STAR, "observations": [{**SEEN, "date": "5 June 2022"}]}]},
         "date of observation 1/2 of A is 5 June 2022"),
        ({"star": []}, "list stars"),
        ({"stars": [], "lines": {}}, "unknown field lines"),
        ({"stars": [], "version": 2}, "version is 2"),
        ({"stars": [], "contamination_half_width": {4: 0.1}}, "order 4"),
        ({"stars": [{"name": "X", "aliases": ["P330E", "P177D"]}]}, "names of both"),
        ({"stars": [{**STAR, "observations": [
            {**SEEN, "contamination": [{"order": 1, "centre": 1, "range": [1, 2]}]}]}]},
         "either range, or centre"),
        ({"stars": [{**STAR, "observations": [
            {**SEEN, "ranges": [{"order": 1, "valid": [1, 2], "excluded": [1, 2]}]}]}]},
         "either valid or excluded"),
        ({"stars": [{**STAR, "observations": [{"program": 1}]}]}, "no program or no observation"),
        ({"stars": [{**STAR, "observations": [{**SEEN, "role": "x"}]}]}, "role of observation 1/2"),
        (
            {"stars": [{**STAR, "observations": [
                {**SEEN, "ranges": [{"order": 1, "valid": [2, 1]}]}]}]},
            "goes from 2",
        ),
        (
            {"stars": [{**STAR, "observations": [
                {**SEEN, "ranges": [{"order": 1, "valid": [2, 10**400]}]}]}]},
            "not two wavelengths",
        ),
        (
            {"stars": [{**STAR, "observations": [
                {**SEEN, "contamination": [{"order": 7, "centre": 1}]}]}]},
            "order 7",
        ),
        (
            {"stars": [{**STAR, "observations": [
                {**SEEN, "contamination": [{"order": 1, "centre": -1}]}]}]},
            "positive number",
        ),
        (
            {"stars": [{**STAR, "observations": [
                {**SEEN, "contamination": [{"order": 1, "centre": 10**400}]}]}]},
            "positive number",
        ),
        ({"stars": [], "line_windows": {"A": {"Lyman": 1}}}, "Lyman"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_one_sentence(tmp_path, content, sentence):
    """What is wrong in a user's table is named with the file; nothing in it is run."""
    with pytest.raises(SossInputError, match=sentence) as caught:
        load_standards(own(tmp_path, content))
    assert "mine.yaml" in str(caught.value)


def test_separation_is_that_of_astropy():
    """Distances on the sky agree with astropy's to a thousandth of an arcsec."""
    from astropy import units
    from astropy.coordinates import SkyCoord

    star = TABLE.by_name("BD+60 1753")
    rng = np.random.default_rng(0)
    for ra, dec in zip(rng.uniform(0, 360, 20), rng.uniform(-90, 90, 20), strict=True):
        one = SkyCoord(star.ra * units.deg, star.dec * units.deg)
        expected = one.separation(SkyCoord(ra * units.deg, dec * units.deg)).arcsec
        assert star.separation(ra, dec) == pytest.approx(expected, abs=1e-3)
