"""Which ratio products belong together."""

from dataclasses import replace

import pytest

from soss_photcal_steps.combine.consistency import ObservationMeta, check_consistency
from soss_photcal_steps.errors import SossInputError

GOOD = [
    ObservationMeta(
        name=f"obs{i}",
        photom_file="photom_rev2.fits",
        photom_checksum="abc" * 21,
        method="atoca",
        width=40,
        tikhonov_factor=1e-3,
        filter="CLEAR",
        subarray="SUBSTRIP256",
        pwcpos=245.7 + 0.05 * i,
        cal_version="1.18.0",
        grids={1: (2048, 0.83 + 0.001 * i, 2.83)},
        levels={1: 0.97 + 0.01 * i},
    )
    for i in range(5)
]


def with_odd(**changes):
    """Give the good ones, the fourth changed."""
    return [*GOOD[:3], replace(GOOD[3], **changes), GOOD[4]]


def test_what_fits_has_no_problem():
    """Observations of one kind pass, and the range of PWCPOS is reported."""
    report = check_consistency(GOOD)
    assert report.problems == [] and report.odd == ()
    assert report.notes == ["PWCPOS ranges from 245.700 to 245.900 degrees over 5 observations."]
    report.raise_if_bad()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(photom_checksum="d" * 63), "photom file with checksum dddddddddddd"),
        (dict(width=30), "extraction width in pixels 30, 4 others have 40"),
        (dict(method="box"), "extraction method box, 4 others have atoca"),
        (dict(filter="F277W"), "filter f277w"),
        (dict(grids={1: (1000, 1.5, 2.83)}), "1000 pixels from 1.5 to 2.83 um"),
        (dict(levels={1: 0.97e6}), "9.7e+05"),
        (dict(levels={1: -0.5}), "median ratio of order 1 is -0.5"),
        (dict(pwcpos=240.0), "PWCPOS is 240.000 degrees, that of the others about 245.750"),
    ],
)
def test_the_odd_one_is_named(changes, words):
    """Each thing that does not fit gives a sentence with the name of the odd one."""
    report = check_consistency(with_odd(**changes))
    (problem,) = report.problems
    assert "obs3" in problem and words in problem
    assert report.odd == ("obs3",)
    with pytest.raises(SossInputError, match="cannot be combined") as caught:
        report.raise_if_bad()
    assert problem in str(caught.value)


def test_names_do_where_there_is_no_checksum():
    """Without a checksum another name of the photom file does not fit."""
    changed = [replace(one, photom_checksum=None) for one in with_odd(photom_file="old.fits")]
    report = check_consistency(changed)
    assert report.odd == ("obs3",) and "photom file old.fits" in report.problems[0]


def test_a_renamed_copy_is_noted():
    """The same photom file by another name is no problem, only a note."""
    report = check_consistency(with_odd(photom_file="copy.fits"))
    assert report.problems == []
    assert "copy.fits, photom_rev2.fits" in " ".join(report.notes)


def test_half_and_half_names_all():
    """Where there is no majority both halves are named."""
    report = check_consistency([GOOD[0], replace(GOOD[1], width=30)])
    assert report.problems == ["Different extraction width in pixels: 40 (obs0); 30 (obs1)."]
    assert report.odd == ("obs0", "obs1")


def test_what_is_missing_is_noted():
    """A missing value is noted, not refused; other versions and subarrays are noted too."""
    report = check_consistency(with_odd(width=None, cal_version="1.20.0", subarray="FULL"))
    assert report.problems == []
    notes = " ".join(report.notes)
    assert "No extraction width in pixels is known of obs3." in notes
    assert "1.18.0, 1.20.0" in notes and "FULL, SUBSTRIP256" in notes


def test_atoca_s_own_factor_is_no_reason_to_refuse():
    """ATOCA finds a factor for each exposure: the range is noted, and who is 100 times off."""
    report = check_consistency(with_odd(tikhonov_factor=2.5e-3))
    assert report.problems == []
    assert report.notes[-1:] == [
        "The Tikhonov factor of ATOCA ranges from 0.001 to 0.0025 over 5 observations."
    ]
    report = check_consistency(with_odd(tikhonov_factor=0.5))
    assert report.problems == [] and report.odd == ()
    assert "obs3: the Tikhonov factor of ATOCA is 0.5, that of the others" in report.notes[-1]
    report = check_consistency(with_odd(tikhonov_factor=None))
    assert not any("Tikhonov" in note for note in report.notes)


def test_metadata_of_a_ratio_product():
    """The groups of a ratio product give the metadata; what is missing is None."""
    meta = ObservationMeta.from_mapping(
        "a.asdf",
        {
            "observation": {"pwcpos": 245.7, "program": "1091", "subarray": "SUBSTRIP256"},
            "extraction": {"method": "atoca", "width": 40.0},
            "calibration": None,
            "levels": {1: 0.97},
        },
    )
    assert (meta.pwcpos, meta.method, meta.width, meta.photom_file) == (245.7, "atoca", 40.0, None)
    assert meta.levels == {1: 0.97} and meta.grids == {}
