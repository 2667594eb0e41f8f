import hashlib

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.header import DeliveryHeader, history_cards, pedigree, to_ascii
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.photom.write import make_photom_file

HEADER = DeliveryHeader("A. Tester", "INFLIGHT 2022-06-05 2024-06-07")


def cards(path):
    """Give the primary header and the HISTORY as one text, cards joined as they were broken."""
    header = fits.getheader(path)
    lines = [str(line) for line in header["HISTORY"]]
    return header, lines, " ".join(line.strip() for line in lines)


def test_file_is_a_valid_model(tmp_path, old_path, correction):
    """The file opens as NisSossPhotomModel, is strictly valid, and holds what was built."""
    path = tmp_path / "new.fits"
    new = make_photom_file(old_path, [correction(1)], path, HEADER)
    with datamodels.open(path, strict_validation=True) as model:
        assert isinstance(model, datamodels.NisSossPhotomModel)
        model.validate()
        for row, made in zip(model.phot_table, new.rows, strict=True):
            assert row["relresponse"].tobytes() == made.relresponse.tobytes()
            assert row["photmj"] == np.float32(made.photmj)
    back = read_photom(path)
    for row, made in zip(back.rows, new.rows, strict=True):
        assert row.key == made.key and row.nelem == made.nelem
        assert row.reluncertainty.tobytes() == made.reluncertainty.tobytes()


def test_rows_that_are_not_derived_keep_their_bits(tmp_path, old_path, correction):
    """On disk, the columns of rows without a correction are those of the old file, bit for bit."""
    path = tmp_path / "new.fits"
    make_photom_file(old_path, [correction(1)], path, HEADER)
    old, new = fits.getdata(old_path, "PHOTOM"), fits.getdata(path, "PHOTOM")
    for name in old.names:
        assert old[name][1:].tobytes() == new[name][1:].tobytes(), name
    assert old["photmj"].tobytes() == new["photmj"].tobytes()
    assert old["relresponse"][0].tobytes() != new["relresponse"][0].tobytes()


def test_wider_rows_are_padded(tmp_path, old_path, correction):
    """Where one row becomes longer than the old columns, all others get zeros, nothing else."""
    path = tmp_path / "new.fits"
    grid = np.linspace(0.76, 3.11, 900)
    make_photom_file(old_path, [correction(1)], path, HEADER, grids={1: grid})
    old, new = read_photom(old_path).rows, read_photom(path).rows
    assert {row.wavelength.size for row in new} == {900} and new[0].nelem == 900
    for before, after in zip(old[1:], new[1:], strict=True):
        assert np.array_equal(after.relresponse[:700], before.relresponse)
        assert not np.any(after.relresponse[700:])


def test_header_is_complete(tmp_path, old_path, correction):
    """All cards of a delivery are there, with the values given or those of the old file."""
    path = tmp_path / "new.fits"
    header = DeliveryHeader(
        "René Müller", pedigree(["2023-04-05T01:02:03", "2022-06-05", "2024-12-31"]),
        description="Flux from 5 stars at 1 µm", useafter="2022-07-01T00:00:00",
    )  # fmt: skip
    make_photom_file(old_path, [correction(1)], path, header)
    found, _, _ = cards(path)
    expected = {
        "AUTHOR": "Rene Muller", "PEDIGREE": "INFLIGHT 2022-06-05 2024-12-31",
        "DESCRIP": "Flux from 5 stars at 1 um, photmj in Jy/(DN/s)",
        "USEAFTER": "2022-07-01T00:00:00", "TELESCOP": "JWST", "INSTRUME": "NIRISS",
        "DETECTOR": "NIS", "EXP_TYPE": "NIS_SOSS", "REFTYPE": "PHOTOM",
        "DATAMODL": "NisSossPhotomModel", "FILENAME": "new.fits",
        "PIXAR_SR": 1.009e-13, "PIXAR_A2": 0.004294,
    }  # fmt: skip
    assert {key: found.get(key) for key in expected} == expected
    make_photom_file(old_path, [correction(1)], path, HEADER)
    assert fits.getheader(path)["USEAFTER"] == "2022-01-01T00:00:00"


def test_history_tells_what_was_done(tmp_path, old_path, correction):
    """HISTORY names inputs with checksums, versions, direction, unit, and the fate of each row."""
    path, ratio = tmp_path / "new.fits", tmp_path / f"{'a_very_long_name_' * 5}ratio.asdf"
    ratio.write_bytes(b"ratio")
    header = DeliveryHeader(
        "A. Tester", "SIMULATION", history=("Random-effects mean of 8 curves.",)
    )
    make_photom_file(old_path, [correction(1)], path, header, inputs=[ratio])
    _, lines, text = cards(path)
    assert max(map(len, lines)) <= 72
    assert text.startswith("Random-effects mean of 8 curves.")
    assert "relresponse = old relresponse / R, with R = observed / model" in text
    assert "photmj is in Jy/(DN/s), unchanged" in text
    assert "CLEAR/GR700XD order 1: derived from 0.90" in text
    assert "above, 2.80" in text and "reluncertainty 100 % of relresponse" in text
    assert "F277W/GR700XD order 1: not derived anew, copied bit for bit" in text
    assert hashlib.sha256(old_path.read_bytes()).hexdigest() in lines
    assert hashlib.sha256(b"ratio").hexdigest() in lines
    assert ratio.name in text.replace(" ", "")
    assert "soss_photcal_steps" in text and "numpy" in text


def test_input_is_never_overwritten(tmp_path, old_path, correction):
    """Neither the old file nor an input can be the output, and both stay as they are."""
    ratio = tmp_path / "ratio.fits"
    ratio.write_bytes(b"ratio")
    before = old_path.read_bytes()
    for output in (old_path, ratio):
        with pytest.raises(SossInputError, match="would overwrite its input"):
            make_photom_file(old_path, [correction(1)], output, HEADER, inputs=[ratio])
    assert old_path.read_bytes() == before and ratio.read_bytes() == b"ratio"


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path, old_path, correction):
    """Time tables that do not match the rows are refused, and no file, whole or part, is left."""
    names = sorted(path.name for path in tmp_path.iterdir())
    table = np.zeros(1, [("filter", "S12"), ("pupil", "S15"), ("order", "i2"), ("t0", "f4"),
                         ("lossperyear", "f4")])  # fmt: skip
    with pytest.raises(SossInputError, match="do not match"):
        make_photom_file(
            old_path, [correction(1)], tmp_path / "new.fits", HEADER,
            time_tables={"timecoeff_linear": table},
        )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_use_after_date_is_needed(tmp_path, photom_table, good_header, write_table, correction):
    """If neither the old file nor the header has a use-after date, one is asked for."""
    del good_header["USEAFTER"]
    old = write_table(tmp_path / "old.fits", photom_table, header=good_header)
    with pytest.raises(SossInputError, match="use-after date of the new file must be given"):
        make_photom_file(old, [correction(1)], tmp_path / "new.fits", HEADER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"author": " "}, "needs a text for author"),
        ({"description": ""}, "needs a text for description"),
        ({"pedigree": "INFLIGHT"}, "must be INFLIGHT YYYY-MM-DD YYYY-MM-DD"),
        ({"pedigree": "INFLIGHT 2022-02-30 2022-03-01"}, "is not valid"),
        ({"pedigree": "INFLIGHT 2023-03-01 2022-03-01"}, "ends before it begins"),
        ({"useafter": "2022-01-01"}, "must have the form YYYY-MM-DDTHH:MM:SS"),
        ({"useafter": "2022-01-01T24:00:00"}, "must have the form"),
    ],
)
def test_bad_header_is_refused(change, message):
    """A header with which the file could not be delivered is refused before anything is made."""
    with pytest.raises(SossInputError, match=message):
        DeliveryHeader(**{"author": "A", "pedigree": "SIMULATION", **change})


@pytest.mark.parametrize(
    ("dates", "message"), [([], "at least one observation"), (["5 June 2022"], "not of the form")]
)
def test_pedigree_needs_dates(dates, message):
    """Dates that are missing or written in another way are refused."""
    with pytest.raises(SossInputError, match=message):
        pedigree(dates)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Loïc Albert, Ångström", "Loic Albert, Angstrom"),
        ("σ = 3 ± 1 µm — “ok”…", 'sigma = 3 +/- 1 um - "ok"...'),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("10⁻⁵ m²", "10-5 m2"),
    ],
)
def test_spelling_in_ascii(text, plain):
    """Accents are dropped, usual signs are spelt out, and white space becomes blanks."""
    assert to_ascii(text) == plain


def test_character_without_spelling_is_refused():
    """A character that has no spelling in ASCII is named in the refusal."""
    with pytest.raises(SossInputError, match="because of '星'"):
        to_ascii("BD+60 星")


def test_history_is_broken_between_words():
    """Words are kept whole, also those with hyphens, unless longer than a card."""
    line = "made with the old photom file and the ratio of jwst_niriss-photom-long-name_0037.fits"
    pieces = history_cards([line, "x" * 150])
    assert pieces[0] == "made with the old photom file and the ratio of"
    assert pieces[1] == "  jwst_niriss-photom-long-name_0037.fits"
    assert [len(piece) for piece in pieces[2:]] == [72, 72, 10]
    assert "".join(pieces[2:]).replace(" ", "") == "x" * 150
