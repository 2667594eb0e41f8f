"""What the checks find: in a good file nothing, in each damaged one its damage."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps.cli import main
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.check import check_photom
from soss_photcal_steps.photom.header import DeliveryHeader
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.photom.time_tables import LinearTrend, make_time_tables
from soss_photcal_steps.photom.write import make_photom_file

HEADER = DeliveryHeader("A. Tester", "INFLIGHT 2022-06-05 2024-06-07")


def errors(report):
    """Give codes and texts of the errors."""
    return [(found.code, found.text) for found in report.findings if found.severity == "error"]


def set_value(name, row, element, value):
    """Make a damage that sets one number of the table."""

    def damage(table, header, times):
        if element is None:
            table[name][row] = value
        else:
            table[name][row, element] = value

    return damage


def scale(name, row, factor):
    """Make a damage that multiplies a column, in one row or all."""

    def damage(table, header, times):
        table[name][slice(None) if row is None else row] *= factor

    return damage


def card(key, value):
    """Make a damage that sets a card, or removes it."""

    def damage(table, header, times):
        if value is None:
            del header[key]
        else:
            header[key] = value

    return damage


def jump(table, header, times):
    """Raise the response of order 1 by 20 % from one wavelength on."""
    table["relresponse"][0, 300:600] *= 1.2


def swap(table, header, times):
    """Let two neighbouring wavelengths change places."""
    table["wavelength"][1, [200, 201]] = table["wavelength"][1, [201, 200]]


def shift_times(table, header, times):
    """Add a linear time table with its rows in another order."""
    times["TIMECOEFF_LINEAR"] = times.pop("SPARE")[::-1]


def cut_times(table, header, times):
    """Add a linear time table that lacks a row."""
    times["TIMECOEFF_LINEAR"] = times.pop("SPARE")[:3]


def time_value(name, value):
    """Make a damage that adds a linear time table with a bad number."""

    def damage(table, header, times):
        times["TIMECOEFF_LINEAR"] = times.pop("SPARE")
        times["TIMECOEFF_LINEAR"][name][1] = value

    return damage


# Each damage: what is done, the code of the error, and words of its sentence.
DAMAGES = {
    "NaN response": (set_value("relresponse", 0, 100, np.nan), "relresponse",
                     "order 1: relresponse is not finite at 1 of 600"),
    "infinite response": (set_value("relresponse", 0, 100, np.inf), "relresponse", "not finite"),
    "negative response": (set_value("relresponse", 1, 7, -0.1), "relresponse",
                          "order 2: relresponse is negative at 1 of 500"),
    "zero response": (set_value("relresponse", 2, 9, 0.0), "relresponse",
                      "order 3: relresponse is zero at 1 of 400"),
    "NaN photmj": (set_value("photmj", 0, None, np.nan), "photmj", "order 1: photmj is not finite"),
    "negative photmj": (set_value("photmj", 3, None, -1e-5), "photmj",
                        "F277W/GR700XD order 1: photmj is -1e-05, not positive"),
    "padding": (set_value("relresponse", 3, 650, 1.0), "padding",
                "1 elements of relresponse beyond nelem = 300 are not 0"),
    "nelem too large": (set_value("nelem", 1, None, 701), "nelem", "which must be 1 to 700"),
    "nelem zero": (set_value("nelem", 1, None, 0), "nelem", "has nelem = 0"),
    "nelem too small": (set_value("nelem", 1, None, 480), "padding", "20 elements of wavelength"),
    "nelem into the padding": (set_value("nelem", 1, None, 505), "wavelength-range",
                               "5 wavelengths within nelem are outside 0.4 to 4.0 um"),
    "reversed wavelengths": (swap, "wavelength-order", "1 wavelengths are smaller"),
    "repeated wavelength": (set_value("wavelength", 1, 1, np.float32(0.506)),
                            "wavelength-repeated", "1 wavelengths are repeated, first 0.506"),
    "NaN wavelength": (set_value("wavelength", 1, 1, np.nan), "wavelength", "1 wavelengths"),
    "Angstrom": (scale("wavelength", 0, 1e4), "wavelength-unit", "look like Angstrom"),
    "metres": (scale("wavelength", 0, 1e-6), "wavelength-unit", "look like m;"),
    "duplicate row": (set_value("order", 1, None, 1), "duplicate", "order 1 has 2 rows"),
    "filter": (set_value("filter", 3, None, b"F277X"), "filter", "FILTER 'F277X' is not one"),
    "pupil": (set_value("pupil", 2, None, b"GR700"), "pupil", "PUPIL 'GR700' is not one"),
    "order": (set_value("order", 2, None, 5), "order", "order 5 is not one of SOSS"),
    "missing order": (set_value("order", 2, None, 1), "missing-row", "order 3 is in the old file"),
    "MJy in all rows": (scale("photmj", None, 1e-6), "unit",
                        "The conversions are about 1e-06 times the old ones"),
    "MJy in one row": (scale("photmj", 1, 1e-6), "unit", "order 2: the conversion is 1e-06 times"),
    "mJy": (scale("photmj", None, 1e3), "unit", "looks like mJy"),
    "no known unit": (scale("photmj", None, 1e9), "unit", "far from the known scale"),
    "jump": (jump, "jump", "1 places where the old file does not, most at 1.9"),
    "negative error": (set_value("reluncertainty", 0, 5, -1.0), "reluncertainty", "negative or"),
    "NaN uncertainty": (set_value("uncertainty", 0, None, np.nan), "uncertainty", "not a finite"),
    "overflow": (set_value("relresponse", 0, 5, 1e-42), "product", "underflows at 1"),
    "time rows": (cut_times, "time-rows", "has 3 rows, the photom table has 4"),
    "time order": (shift_times, "time-rows", "Row 1 of timecoeff_linear is for F277W"),
    "time t0": (time_value("t0", 2459800.5), "time-t0", "is not a day in MJD"),
    "time loss": (time_value("lossperyear", 0.5), "time-throughput", "not positive and finite"),
    "time NaN": (time_value("lossperyear", np.nan), "time-values", "not finite"),
    "no author": (card("AUTHOR", None), "header", "AUTHOR is missing"),
    "exposure type": (card("EXP_TYPE", "NIS_IMAGE"), "header", "EXP_TYPE is 'NIS_IMAGE'"),
    "detector": (card("DETECTOR", None), "header", "DETECTOR is missing; it must be NIS"),
    "no pedigree": (card("PEDIGREE", None), "pedigree", "PEDIGREE is missing"),
    "pedigree": (card("PEDIGREE", "INFLIGHT 05/06/2022 07/06/2022"), "pedigree", "not of the form"),
    "pedigree reversed": (card("PEDIGREE", "INFLIGHT 2023-06-05 2022-06-05"), "pedigree",
                          "ends before it begins"),
    "pedigree too early": (card("PEDIGREE", "INFLIGHT 2019-06-05 2022-06-05"), "pedigree",
                           "before the launch"),
    "no use-after": (card("USEAFTER", None), "useafter", "USEAFTER is missing"),
    "use-after": (card("USEAFTER", "2022-13-01T00:00:00"), "useafter", "not of the form"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(tmp_path, photom_table, good_header, write_table, old_path, name):
    """A damaged file is refused, with a sentence that names this damage and where it is."""
    damage, code, words = DAMAGES[name]
    trends = {("CLEAR", "GR700XD", 1): LinearTrend(59800.0, 0.01)}
    times = {"SPARE": make_time_tables(read_photom(old_path).rows, trends)["timecoeff_linear"]}
    damage(photom_table, good_header, times)
    times.pop("SPARE", None)
    path = write_table(tmp_path / "bad.fits", photom_table, header=good_header, times=times)
    report = check_photom(path, old_path, certify=False)
    assert not report.deliverable and report.verdict == "must not be delivered"
    assert any(found == code and words in text for found, text in errors(report)), report.as_text()


def test_damages_have_sentences_of_their_own(tmp_path, photom_table, good_header, write_table,
                                              old_path):  # fmt: skip
    """No sentence that is expected of one damage is said of the good file."""
    path = write_table(tmp_path / "good.fits", photom_table, header=good_header)
    text = check_photom(path, old_path, certify=False).as_text()
    assert [name for name, (_, _, words) in DAMAGES.items() if words in text] == []
    assert len({(code, words) for _, code, words in DAMAGES.values()}) == len(DAMAGES)


def test_doubts_of_astropy_are_told(tmp_path, photom_table, write_table):
    """What astropy warns about in the header is a warning of the check, not lost."""
    path = write_table(tmp_path / "odd.fits", photom_table)
    path.write_bytes(path.read_bytes().replace(b"A. Tester", b"A. Test\xc3\xa9"))
    report = check_photom(path, certify=False)
    assert "non-ASCII" in warnings_of(report)["fits"]


def test_missing_history_is_an_error(tmp_path, photom_table, write_table):
    """A file without HISTORY is refused."""
    path = write_table(tmp_path / "bad.fits", photom_table, history=())
    assert [code for code, _ in errors(check_photom(path, certify=False))] == ["header"]


def test_good_file_passes(tmp_path, old_path, correction):
    """A file that we built passes, certify included, and the change of each row is stated."""
    path = tmp_path / "new.fits"
    trends = {("CLEAR", "GR700XD", 1): LinearTrend(59800.0, 0.01)}
    times = make_time_tables(read_photom(old_path).rows, trends)
    make_photom_file(
        old_path, [correction(1), correction(2, 0.63, 0.95)], path, HEADER, time_tables=times
    )
    report = check_photom(path, old_path)
    assert report.deliverable and errors(report) == []
    assert report.count("warning") == 0, report.as_text()
    text = report.as_text()
    assert "may be delivered: 0 errors, 0 warnings" in text
    assert "crds certify" in text and "has no error" in text
    assert "CLEAR/GR700XD order 1: against the old file -4." in text
    assert "CLEAR/GR700XD order 3 is the old row, bit for bit." in text
    assert "There are no errors for CLEAR/GR700XD order 3, F277W/GR700XD order 1." in text


def warnings_of(report):
    """Give the texts of the warnings by their code."""
    return {found.code: found.text for found in report.findings if found.severity == "warning"}


def test_large_change_is_a_warning(tmp_path, photom_table, write_table, old_path):
    """A change by 25 % is no error, but a warning that says how much and at how many places."""
    photom_table["relresponse"][0] *= 1.25
    path = write_table(tmp_path / "new.fits", photom_table)
    report = check_photom(path, old_path, certify=False)
    assert report.deliverable
    assert "+25.00 % in the median" in warnings_of(report)["change"]
    assert "over 20 % at 600 wavelengths" in warnings_of(report)["change"]


@pytest.mark.parametrize(("size", "found"), [(1.004, False), (1.006, True)])
def test_small_jump_is_a_warning(tmp_path, photom_table, write_table, old_path, size, found):
    """A jump by 0.6 % is a warning, one by 0.4 % is not."""
    photom_table["relresponse"][0, 300:600] *= size
    path = write_table(tmp_path / "new.fits", photom_table)
    report = check_photom(path, old_path, certify=False)
    assert report.deliverable
    assert ("jump" in warnings_of(report)) is found


def test_jump_of_the_old_file_does_not_count(tmp_path, photom_table, write_table, correction):
    """A jump that the old file has is carried over without a word, and a warning if unknown."""
    photom_table["relresponse"][0, 300:600] *= 1.2
    old = write_table(tmp_path / "old.fits", photom_table)
    path = tmp_path / "new.fits"
    make_photom_file(old, [correction(1)], path, HEADER)
    assert "jump" not in warnings_of(check_photom(path, old, certify=False))
    assert "most at 1.9" in warnings_of(check_photom(path, certify=False))["jump"]


def test_other_warnings(tmp_path, photom_table, good_header, write_table, old_path):
    """Exploding ends, a shorter range, no errors, odd pedigree and pixel area are warnings."""
    photom_table["relresponse"][1, :20] *= np.linspace(1e4, 1, 20)
    photom_table["nelem"][0] = 590
    for name in ("wavelength", "relresponse"):
        photom_table[name][0, 590:] = 0
    good_header["DATE"] = "2023-03-22T02:49:48.183"
    good_header["PEDIGREE"] = "INFLIGHT 2023-03-22 2023-03-22"
    good_header["FILENAME"] = "other.fits"
    del good_header["PIXAR_SR"]
    path = write_table(tmp_path / "new.fits", photom_table, header=good_header)
    report = check_photom(path, certify=False)
    found = warnings_of(report)
    assert "order 2: relresponse is over 1000 times its smallest value" in found["explosion"]
    assert "the file has no errors" in found["no-errors"]
    assert "the day on which the file was made" in found["pedigree"]
    assert "PIXAR_SR" in found["header"]
    assert any(item.code == "filename" for item in report.findings)
    assert "become exactly 0" in warnings_of(check_photom(path, old_path, certify=False))["range"]
    assert report.deliverable


def test_large_loss_is_a_warning(tmp_path, photom_table, write_table, old_path):
    """A throughput that falls by 6 % in a year is possible, but worth a warning."""
    trends = {("CLEAR", "GR700XD", 1): LinearTrend(59800.0, 0.06)}
    times = make_time_tables(read_photom(old_path).rows, trends)
    times = {name.upper(): table for name, table in times.items()}
    path = write_table(tmp_path / "new.fits", photom_table, times=times)
    report = check_photom(path, certify=False)
    assert report.deliverable
    assert "changes by -6.0 % in the year" in warnings_of(report)["time-throughput"]


def test_empty_table_is_an_error(tmp_path, photom_table, write_table):
    """A table without rows is refused."""
    path = write_table(tmp_path / "bad.fits", photom_table[:0])
    assert ("rows", "The PHOTOM table has no row.") in errors(check_photom(path, certify=False))


def missing(path, table, write_table):
    """Leave nothing at the path."""


def truncated(path, table, write_table):
    """Cut a file in its data."""
    data = write_table(path, table).read_bytes()
    path.write_bytes(data[:20000])


def not_fits(path, table, write_table):
    """Write a text."""
    path.write_text("photmj = 5.14e-5")


def other_type(path, table, write_table):
    """Write a reference file of another type."""
    write_table(path, table, header={"REFTYPE": "WAVEMAP"})


def no_table(path, table, write_table):
    """Write a file with an image only."""
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 3)))]).writeto(path)


def image_table(path, table, write_table):
    """Write an image under the name of the table."""
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 3)), name="PHOTOM")]
    fits.HDUList(hdus).writeto(path)


def old_schema(path, table, write_table):
    """Write the layout of 2018."""
    names = [name for name in table.dtype.names if name != "reluncertainty"]
    older = table[names].copy()
    older.dtype.names = [name.replace("photmj", "photmjsr") for name in names]
    write_table(path, older)


def broken_format(path, table, write_table):
    """Break the format of a column."""
    data = write_table(path, table).read_bytes()
    path.write_bytes(data.replace(b"TFORM5  = 'E       '", b"TFORM5  = 'E        "))


def broken_name(path, table, write_table):
    """Break the name of a column, over which astropy stumbles with an error of its own."""
    data = write_table(path, table).read_bytes()
    place = data.index(b"'", data.index(b"TTYPE5  = '") + 11)
    path.write_bytes(data[:place] + b" " + data[place + 1 :])


def flat_columns(path, table, write_table):
    """Write one number instead of an array per row."""
    dtype = [(name, table.dtype[name].base) for name in table.dtype.names]
    write_table(path, np.zeros(2, dtype))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, "does not exist"),
        (truncated, "truncated at 20000 bytes"),
        (not_fits, "not a readable FITS file"),
        (other_type, "is a WAVEMAP reference file; a PHOTOM file"),
        (no_table, "has no PHOTOM table"),
        (image_table, "is not a table"),
        (old_schema, "has no column photmj, reluncertainty"),
        (broken_format, "column 5 of 9 (TFORM5)"),
        (broken_name, "cannot be read as a photom file: Unparsable card"),
        (flat_columns, "must hold one array each per row"),
    ],
)
def test_unusable_file_gets_a_sentence(tmp_path, capsys, photom_table, write_table, make, words):
    """A file that is no photom file of SOSS ends the command with one sentence and status 1."""
    path = tmp_path / "file.fits"
    make(path, photom_table, write_table)
    assert main(["check", str(path)]) == 1
    output = capsys.readouterr()
    assert output.out == "" and words in output.err and output.err.count("\n") == 1
    with pytest.raises(SossInputError, match=r"file\.fits"):
        read_photom(path)


def test_command_prints_verdict_and_json(tmp_path, capsys, monkeypatch, photom_table, write_table,
                                          old_path):  # fmt: skip
    """The command gives status 1 for a bad file, 0 for a good one, and the same list as JSON."""
    monkeypatch.setattr(
        "soss_photcal_steps.photom.check.run_certify",
        lambda path, kind: CERTIFIED,
    )
    assert main(["check", str(old_path)]) == 0
    assert "may be delivered" in capsys.readouterr().out
    photom_table["photmj"][0] = np.nan
    bad = write_table(tmp_path / "bad.fits", photom_table)
    assert main(["check", str(bad), "--old", str(old_path)]) == 1
    text = capsys.readouterr().out
    assert text.startswith(f"{bad} must not be delivered")
    assert main(["check", str(bad), "--old", str(old_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["deliverable"] is False and found["verdict"] == "must not be delivered"
    assert [item["severity"] for item in found["findings"]] == sorted(
        (item["severity"] for item in found["findings"]), key=("error", "warning", "note").index
    )
    assert all(item["text"] in text for item in found["findings"])


@dataclasses.dataclass(frozen=True)
class Certified:
    """What a run of certify without any message gives."""

    errors: tuple = ()
    warnings: tuple = ()
    version: str = "14"


CERTIFIED = Certified()


def test_every_code_is_documented():
    """The page of the checks lists each code that a finding can have."""
    root = Path(__file__).parents[2]
    page = (root / "docs" / "photom_check.md").read_text()
    sources = sorted((root / "src" / "soss_photcal_steps" / "photom").glob("check*.py"))
    text = "".join(path.read_text() for path in sources)
    codes = set(re.findall(r'(?:error|warning|note)\)?\(\s*"([a-z0-9-]+)"', text))
    assert len(codes) > 25
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
