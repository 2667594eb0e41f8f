"""The table of what is left out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.combine.curves import Curve
from soss_photcal_steps.combine.restrictions import (
    Restriction,
    apply_restrictions,
    format_restrictions,
    parse_restrictions,
)
from soss_photcal_steps.errors import SossInputError

X = np.linspace(0.805, 2.805, 201)


def curve(star="G191-B2B", observation="1537/2", order=1):
    """Give a curve."""
    return Curve(star, observation, order, X, np.ones(X.size), np.full(X.size, 0.01))


CSV = """star,program,observation,order,low,high,action,note
G191-B2B,1537,,1,2.0,,exclude,contaminated
,4498,024,1,2.1,2.6,exclude,"hump, not in cycle 3"
GSPC P177-D,,,,0.9,2.0,keep,
"""
ECSV = """# %ECSV 1.0
# ---
# datatype:
# - {name: star, datatype: string}
star program observation order low high action note
G191-B2B 1537 "" 1 2.0 "" exclude contaminated
"" 4498 024 1 2.1 2.6 exclude "hump, not in cycle 3"
"GSPC P177-D" "" "" "" 0.9 2.0 keep ""
"""
YAML = """
- {star: G191-B2B, program: 1537, order: 1, low: 2.0, note: contaminated}
- program: 4498
  observation: "024"
  order: 1
  low: 2.1
  high: 2.6
  note: "hump, not in cycle 3"
- {star: GSPC P177-D, low: 0.9, high: 2.0, action: keep}
"""


@pytest.mark.parametrize("text", [CSV, ECSV, YAML], ids=["csv", "ecsv", "yaml"])
def test_three_formats_say_the_same(text):
    """CSV, ECSV and YAML of one table give the same restrictions."""
    assert parse_restrictions(text) == [
        Restriction("G191-B2B", "1537", "", 1, 2.0, math.inf, "exclude", "contaminated"),
        Restriction("", "4498", "024", 1, 2.1, 2.6, "exclude", "hump, not in cycle 3"),
        Restriction("GSPC P177-D", low=0.9, high=2.0, action="keep"),
    ]


words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12)
restrictions = st.builds(
    Restriction,
    star=words.map(lambda text: "s" + " ".join(text.split())),
    program=st.integers(1, 9999).map(str) | st.just(""),
    observation=st.integers(1, 999).map(str) | st.just(""),
    order=st.none() | st.integers(1, 3),
    low=st.floats(0, 1),
    high=st.floats(1.0001, 5) | st.just(math.inf),
    action=st.sampled_from(["exclude", "keep"]),
    note=words.map(lambda text: " ".join(text.split())),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(restrictions, max_size=5))
def test_a_table_survives_writing_and_reading(table):
    """What is written as CSV is read back as it was, whatever the names."""
    assert parse_restrictions(format_restrictions(table)) == table


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    """Whatever the text is, it is read or refused with a sentence."""
    said = "notes.csv"
    try:
        parse_restrictions(text, said)
    except SossInputError as error:
        said = str(error)
    assert "notes.csv" in said


@settings(max_examples=60, deadline=None)
@given(st.lists(restrictions, max_size=4))
def test_restrictions_only_take_away(table):
    """No restriction makes a pixel valid, and curves that are not concerned stay."""
    before = [curve(), curve(star="B", observation="1/1")]
    kept, _ = apply_restrictions(before, table)
    for one in kept:
        old = next(c for c in before if c.name == one.name)
        assert not np.any(one.valid & ~old.valid)
    for one in before:
        if not any(r.concerns(one) for r in table):
            assert any(k is one for k in kept)


def test_exclude_and_keep():
    """Exclude leaves the range out, keep leaves out all else, and each is told in numbers."""
    kept, told = apply_restrictions(
        [curve(), curve("GSPC P177-D", "1538/12")], parse_restrictions(CSV)
    )
    assert kept[0].valid_range[1] == pytest.approx(1.995)
    assert kept[1].valid_range == pytest.approx((0.905, 1.995))
    assert told[0] == (
        "G191-B2B 1537/2 order 1: exclude 2 to inf um (contaminated); 81 of 201 pixels left out."
    )
    assert told[-1] == "The restriction '4498/024 order 1: exclude 2.1 to 2.6 um' met no curve."


def test_numbers_and_names_are_read_leniently():
    """Leading zeros of numbers, and blanks, hyphens and case of names, do not matter."""
    assert Restriction(program="01537", observation="002").concerns(curve())
    assert Restriction(star="g191 b2b").concerns(curve())
    assert not Restriction(star="g191", program="1537").concerns(curve())
    assert not Restriction(observation="3").concerns(curve())
    assert not Restriction(order=2).concerns(curve())


def test_a_whole_curve_can_be_left_out():
    """Without limits the whole curve is left out, and the message says so."""
    kept, told = apply_restrictions([curve()], [Restriction(program="1537")])
    assert kept == []
    assert told[-1] == "G191-B2B 1537/2 order 1: nothing is left, not used."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("star,order\nA", "entry 1: has 1 values for 2 columns"),
        ("star,colour\nA,red", "unknown 'colour'"),
        ("star,action\nA,drop", "'drop'"),
        ("star,low,high\nA,2,1", "low must be below high"),
        ("star,order\nA,first", "must be numbers"),
        ("star,low\n,1", "must name a star"),
        ("- [1, 2]", "list of entries"),
        ("- {star: A", "as YAML"),
        ("star,low\nA,nan", "low must be below high"),
    ],
)
def test_bad_tables_are_refused(text, words):
    """Each mistake in a table gives a sentence with the name of the file."""
    with pytest.raises(SossInputError, match=r"bad\.csv") as caught:
        parse_restrictions(text, "bad.csv")
    assert words in str(caught.value)
