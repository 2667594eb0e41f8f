"""What `soss-photcal check` says of libraries."""

import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps.cli import main
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.template.check import check_library, is_library


@pytest.fixture
def good(tmp_path, library):
    """Give a library that may be delivered."""
    from soss_photcal_steps.simulate.write import write_library

    path = write_library(library, tmp_path / "lib.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["ERR"].data[:] = 0.01
    return path


def test_good_library_passes(good):
    """A good library has no error and no warning, with crds certify."""
    report = check_library(good)
    assert report.deliverable, report.as_text()
    assert report.count("warning") == 0, report.as_text()
    assert is_library(good)


def card(key, value):
    """Make a change of a card of the primary header."""

    def change(hdus):
        if value is None:
            del hdus[0].header[key]
        else:
            hdus[0].header[key] = value

    return change


def pixel(value, extension="SCI"):
    """Make a change of one pixel of template 1."""

    def change(hdus):
        hdus[extension].data[1, 100, 1000] = value

    return change


def copied(hdus):
    """Make template 2 a multiple of template 0."""
    hdus["SCI"].data[2] = 1.7 * hdus["SCI"].data[0]


def flat(hdus):
    """Take the break out of template 1."""
    hdus["SCI"].data[1] = 3.0


def in_electrons(hdus):
    """Give template 1 in another unit."""
    hdus["SCI"].data[1] *= 1e6


def no_errors(hdus):
    """Take the errors away."""
    hdus["ERR"].data[:] = 0


@pytest.mark.parametrize(
    ("change", "severity", "text"),
    [
        (card("FILTER", "F090W"), "error", "it must be CLEAR or F277W"),
        (card("EXP_TYPE", "NIS_WFSS"), "error", "EXP_TYPE is 'NIS_WFSS'"),
        (card("AUTHOR", None), "error", "AUTHOR is missing"),
        (card("USEAFTER", "yesterday"), "error", "USEAFTER is 'yesterday'"),
        (pixel(np.nan), "error", "Template 1 has 1 pixels that are NaN or infinite"),
        (pixel(-1.0), "error", "Template 1 has 1 pixels that are not positive"),
        (pixel(-1.0, "ERR"), "error", "ERR has values that are negative"),
        (pixel(30.0), "warning", "Template 1 has 2 jumps"),
        (copied, "error", "Templates 0 and 2 have the same shape"),
        (flat, "warning", "Template 1 has no break"),
        (in_electrons, "warning", "Template 1 has a level of"),
        (no_errors, "warning", "have no errors"),
        (card("HISTORY", None), "warning", "Template 0 has no name"),
    ],
)
def test_damage_is_named(good, change, severity, text):
    """Each kind of damage gives its own sentence, and an error forbids the delivery."""
    with fits.open(good, mode="update") as hdus:
        change(hdus)
    report = check_library(good, certify=False)
    texts = [one.text for one in report.findings if one.severity == severity]
    assert any(text in one for one in texts), report.as_text()
    assert report.deliverable == (severity == "warning")


def test_command_tells_library_from_photom_file(good, capsys):
    """The command checks a library as one; --old makes no sense then."""
    assert main(["check", str(good)]) == 0
    assert "may be delivered" in capsys.readouterr().out
    assert main(["check", str(good), "--old", str(good)]) == 1
    assert "--old is for photom files" in capsys.readouterr().err


def test_other_files_are_no_library(tmp_path, good):
    """A text file is no library, and a truncated library is refused with its name."""
    (tmp_path / "a.txt").write_text("nothing")
    assert not is_library(tmp_path / "a.txt")
    assert not is_library(tmp_path / "absent.fits")
    short = tmp_path / "short.fits"
    short.write_bytes(good.read_bytes()[:100_000])
    with pytest.raises(SossInputError, match="short"):
        check_library(short)
