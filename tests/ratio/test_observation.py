"""Identity of an observation, and lists of integrations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.observation import (
    ObservationInfo,
    check_same_observation,
    differences,
    parse_integrations,
)


def test_odd_file_is_named():
    """Of three files the one with another aperture, photom file or target is named."""
    base = {"program": "01091", "observation": "002", "width": 40.0, "photom_file": "p.fits"}
    infos = [ObservationInfo(f"{i}.fits", **base) for i in range(3)]
    check_same_observation(infos)
    changes = (
        {"width": 30.0}, {"photom_file": "q.fits"}, {"target": "X"}, {"observation": "003"},
        {"pwcpos": 245.9}, {"oversampling": 3.0}, {"method": "box"},
        {"steps": {"S_PXREPL": "COMPLETE"}},
    )  # fmt: skip
    for change in changes:
        odd = ObservationInfo("odd.fits", **{**base, **change})
        with pytest.raises(SossInputError, match=r"odd\.fits"):
            check_same_observation([*infos, odd])


def test_header_values_that_make_no_sense_are_none():
    """Negative and absurd counts, text for numbers and infinite values are not taken over."""
    header = {
        "INSTRUME": "NIRISS", "EXP_TYPE": "NIS_SOSS", "FILTER": "CLEAR", "NINTS": -3,
        "NGROUPS": "many", "PWCPOS": float("inf"), "TARGNAME": "  ", "EXSEGNUM": 0,
        "NFRAMES": 1e99,
    }  # fmt: skip
    info = ObservationInfo.from_header(header, "x.fits")
    assert info.n_frames is None
    assert info.n_integrations is None
    assert info.n_groups is None
    assert info.pwcpos is None
    assert info.target is None
    assert info.segment == 1
    assert info.frames_of(5) is None


@given(st.sets(st.integers(1, 300), max_size=40))
def test_integration_lists_come_back(numbers):
    """A set of integrations written as ranges is read back, whatever the spaces."""
    text, rest = [], sorted(numbers)
    while rest:
        last = rest[0]
        while last + 1 in numbers:
            last += 1
        text.append(f" {rest[0]} - {last}" if last > rest[0] else str(last))
        rest = [n for n in rest if n > last]
    assert parse_integrations(",".join(text)) == numbers


@pytest.mark.parametrize("text", ["0", "3-1", "a", "1-", "-1", "1;2", "1.5", "1-99999999"])
def test_wrong_integration_lists_are_sentences(text):
    """A list that is none is refused with an example."""
    with pytest.raises(SossInputError, match="1-3,17"):
        parse_integrations(text)


SOSS = {"INSTRUME": "NIRISS", "EXP_TYPE": "NIS_SOSS", "FILTER": "CLEAR"}


def test_differences_that_do_no_harm_are_told():
    """Versions, contexts and backgrounds that differ are sentences; the same are none."""
    base = ObservationInfo("a.fits", cal_version="3.0.0", crds_context="jwst_1.pmap")
    other = ObservationInfo("b.fits", cal_version="3.0.0", crds_context="jwst_2.pmap")
    assert differences([base, base]) == []
    assert differences([base, other]) == [
        "The files differ in CRDS context: jwst_1.pmap, jwst_2.pmap."
    ]


@pytest.mark.parametrize(
    ("cards", "span"),
    [
        ({"INTSTART": 3, "INTEND": 12, "NINTS": 40}, 10),
        ({"NINTS": 40}, 40),
        ({"NINTS": 40, "EXSEGTOT": 2}, 1),
        ({}, 1),
    ],
)
def test_span_of_a_file(cards, span):
    """The integrations in a file are told by INTSTART and INTEND, or NINTS of a single one."""
    assert ObservationInfo.from_header({**SOSS, **cards}, "x.fits").span == span


def test_all_settings_are_taken_over():
    """Times, epoch, background and settings of ATOCA come from their keywords."""
    header = {
        **SOSS, "TFRAME": 5.494, "MU_EPOCH": "2000.0", "BKGMETH": "template 3", "BKGLEVEL": 2.5,
        "BKGD_SCL": 0.9, "R_BKG": "crds://jwst_niriss_bkg_0001.fits", "OVERSAMP": 2,
        "THRESHLD": 0.01, "NGROUPS": 4, "NFRAMES": 2, "DATE-OBS": "2022-06-05",
        "TIME-OBS": "08:00:00", "EXPOSURE": "1",
    }  # fmt: skip
    info = ObservationInfo.from_header(header, "x.fits")
    assert (info.frame_time, info.pm_epoch, info.exposure) == (5.494, "2000.0", "1")
    assert (info.background_method, info.background_level) == ("template 3", 2.5)
    assert (info.background_scale, info.background_file) == (0.9, "jwst_niriss_bkg_0001.fits")
    assert (info.oversampling, info.threshold) == (2.0, 0.01)
    assert info.frames_of(10) == 80
    assert info.date_begin == "2022-06-05T08:00:00"
