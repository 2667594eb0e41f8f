"""Templates: cut by the header, never by guess; repaired; named."""

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps.background.reference import (
    cut_library,
    pastasoss_positions,
    read_library,
    repair_templates,
    trace_positions,
    with_candidate,
)
from soss_photcal_steps.background.window import Window
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate import make_library
from soss_photcal_steps.simulate.write import write_library
from soss_photcal_steps.trace import trace_positions as own_positions

STRIP = Window(1792, 256)
SMALL = Window(1802, 96)
FULL = Window(0, 2048)


def rising(window, count=1):
    """Make templates whose value is the detector row, plus a thousandth of the column."""
    rows = np.arange(window.first_row, window.first_row + window.n_rows)
    columns = np.arange(window.first_column, window.first_column + window.n_columns)
    image = rows[:, None] + columns[None, :] / 1000 + 1
    return np.repeat(image[None], count, axis=0).astype(np.float32)


@pytest.mark.parametrize(
    ("library", "data"), [(FULL, STRIP), (FULL, SMALL), (STRIP, SMALL), (STRIP, STRIP)]
)
def test_templates_are_cut_to_the_rows_of_the_data(library, data):
    """Of a larger library exactly the detector rows of the data are taken."""
    cut = cut_library(rising(library), library, data, "lib.fits")
    inside = ~data.reference_pixels
    assert np.array_equal(cut.images[0][inside], rising(data)[0][inside])
    assert np.array_equal(cut.images[0][~inside], rising(data)[0][~inside])
    assert cut.n_filled == 0


def test_unusual_position_is_taken_from_the_header():
    """A subarray of 96 rows that lies elsewhere gets the rows that its header says."""
    header = {"SUBSTRT2": 1850, "SUBSIZE2": 96, "SUBARRAY": "SUBSTRIP96"}
    window = Window.from_header("data", header, (96, 2048))
    cut = cut_library(rising(STRIP), STRIP, window, "lib.fits")
    assert cut.images[0, 0, 4] == pytest.approx(1849 + 0.004 + 1)


@pytest.mark.parametrize(
    ("library", "data", "needed"),
    [(STRIP, FULL, "FULL"), (SMALL, STRIP, "SUBSTRIP256 or FULL"), (SMALL, Window(1792, 96), "")],
)
def test_library_that_does_not_cover_the_data(library, data, needed):
    """A library with too few rows is refused, and what would be right is named."""
    with pytest.raises(SossInputError, match=f"lib.fits covers rows.*{needed} is needed"):
        cut_library(rising(library), library, data, "lib.fits")


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"SUBSIZE2": 256}, "SUBSTRT2 missing"),
        ({"SUBSTRT2": 1793}, "SUBSIZE2 missing"),
        ({}, "SUBSTRT2 and SUBSIZE2 missing"),
        ({"SUBARRAY": "GENERIC"}, "SUBARRAY is 'GENERIC'"),
        ({"SUBSTRT2": 1793, "SUBSIZE2": 96}, "256 x 2048.*96 x 2048"),
        ({"SUBARRAY": "FULL"}, "256 x 2048.*2048 x 2048"),
    ],
)
def test_position_that_is_not_given_is_not_guessed(header, sentence):
    """Without the keywords, or if they do not fit the images, there is no window."""
    with pytest.raises(SossInputError, match=sentence):
        Window.from_header("data.fits", header, (256, 2048))


def test_rows_of_the_strip():
    """Rows are counted from the first of SUBSTRIP256, in all subarrays."""
    assert list(STRIP.strip_rows[[0, -1]]) == [0, 255]
    assert list(SMALL.strip_rows[[0, -1]]) == [10, 105]
    assert list(FULL.strip_rows[[0, -1]]) == [-1792, 255]


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -3.0])
def test_gaps_are_filled_from_their_row(value):
    """Pixels without a usable value get what lies between their neighbours, and are counted."""
    images = rising(STRIP)
    expected = images[0].copy()
    images[0, 30, 500:510] = value
    images[0, 60, 100] = value
    filled, count = repair_templates(images, STRIP, "lib.fits")
    inside = ~STRIP.reference_pixels
    assert np.allclose(filled[0][inside], expected[inside], rtol=1e-5)
    assert count == 11
    assert images[0, 30, 500] != filled[0, 30, 500]


def test_empty_row_is_filled_from_the_columns():
    """A row without any value gets the mean of the columns."""
    images = np.ones((1, 256, 2048), np.float32)
    images[0, :, 1000:] = 2
    images[0, 50] = 0
    filled, _ = repair_templates(images, STRIP, "lib.fits")
    assert np.all(filled[0, 50, 4:1000] == 1)
    assert np.all(filled[0, 50, 1000:2044] == 2)


def test_empty_template_is_refused():
    """A template with mostly useless values is refused with its number."""
    images = rising(STRIP, 3)
    images[2, :200] = np.nan
    with pytest.raises(SossInputError, match=r"Template 2 .* lib\.fits .* 21 per cent"):
        repair_templates(images, STRIP, "lib.fits")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Give libraries of 256 rows and of the whole frame, made from the same seed."""
    folder = tmp_path_factory.mktemp("libraries")
    for subarray in ("SUBSTRIP256", "SUBSTRIP96"):
        write_library(make_library(2, 3, subarray=subarray), folder / f"{subarray}.fits")
    return folder


def test_file_and_model_give_the_same(files):
    """A library is the same whether it is read in part from a file or given as a model."""
    path = files / "SUBSTRIP256.fits"
    library = read_library(path, SMALL, "CLEAR")
    with datamodels.SossBkgModel(path) as model:
        other = read_library(model, SMALL, "CLEAR")
    assert np.array_equal(library.images, other.images)
    assert library.images.dtype == np.float32 and library.images.dtype.isnative
    assert library.source == "SUBSTRIP256.fits"
    assert library.names == ("zodi_00", "zodi_01")
    inside = ~SMALL.reference_pixels
    expected = fits.getdata(path)[:, 10:106]
    assert np.array_equal(library.images[:, inside], expected[:, inside])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("FILTER", "F277W", "for the filter F277W; the data were taken with CLEAR"),
        ("INSTRUME", "MIRI", "INSTRUME = MIRI; NIRISS is needed"),
        ("EXP_TYPE", "NIS_WFSS", "EXP_TYPE = NIS_WFSS; NIS_SOSS is needed"),
    ],
)
def test_library_for_something_else(files, tmp_path, key, value, sentence):
    """A library for another filter, instrument or mode is refused, with what is needed."""
    with fits.open(files / "SUBSTRIP96.fits") as hdus:
        hdus[0].header[key] = value
        hdus.writeto(tmp_path / "lib.fits")
    with pytest.raises(SossInputError, match=sentence):
        read_library(tmp_path / "lib.fits", SMALL, "CLEAR")


def test_library_without_a_filter(files, tmp_path):
    """A library that does not name its filter is accepted, and known to say nothing."""
    with fits.open(files / "SUBSTRIP96.fits") as hdus:
        del hdus[0].header["FILTER"]
        hdus.writeto(tmp_path / "lib.fits")
    assert not read_library(tmp_path / "lib.fits", SMALL, "CLEAR").filter_known
    assert read_library(files / "SUBSTRIP96.fits", SMALL, "CLEAR").filter_known


@pytest.mark.parametrize("shape", [None, (256, 2048)])
def test_library_without_templates(tmp_path, shape):
    """A file without SCI, or with a single image, is no library."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    if shape:
        hdus.append(fits.ImageHDU(np.ones(shape, "f4"), name="SCI"))
    hdus.writeto(tmp_path / "lib.fits")
    with pytest.raises(SossInputError, match=r"lib\.fits (has no SCI|must hold images)"):
        read_library(tmp_path / "lib.fits", STRIP, "CLEAR")


def test_one_more_candidate():
    """A template is added at the end of a library, or makes one by itself."""
    library = cut_library(rising(STRIP, 2), STRIP, STRIP, "lib.fits")
    more = with_candidate(library, np.ones((256, 2048)), "dedicated", "sky.fits")
    assert more.names == ("template 0", "template 1", "dedicated")
    assert more.images.shape == (3, 256, 2048) and np.all(more.images[2] == 1)
    assert more.source == "lib.fits + sky.fits"
    assert len(library.images) == 2
    assert with_candidate(None, np.ones((96, 2048)), "sky", "s.fits").images.shape == (1, 96, 2048)


def test_orders_with_light():
    """CLEAR has traces of three orders, F277W only the first."""
    assert sorted(trace_positions(245.8, "CLEAR")) == [1, 2, 3]
    assert sorted(trace_positions(245.8, "F277W")) == [1]


def pastasoss(shift):
    """Make a reference with the package's own order 1, shifted in the rows."""
    model = datamodels.PastasossModel()
    x = np.arange(2048.0)
    model.meta.pwcpos_cmd = 245.76
    model.meta.instrument.name = "NIRISS"
    for name in ("description", "author", "pedigree"):
        setattr(model.meta, name, "test")
    model.meta.reftype = "pastasoss"
    model.meta.useafter = "2022-01-01T00:00:00"
    table = np.stack([x, own_positions(1) + shift], axis=1)
    model.traces = [{"spectral_order": 1, "pivot_x": 1887.0, "pivot_y": 54.0, "trace": table}]
    return model


def test_traces_of_a_pastasoss_reference(tmp_path):
    """Traces are taken from the reference and turned; missing orders from the own table."""
    with pastasoss(3.0) as model:
        model.save(tmp_path / "pastasoss.asdf")
        found = trace_positions(245.9, "CLEAR", model)
    assert found[1] == pytest.approx(own_positions(1, 245.9) + 3, abs=0.05)
    assert np.array_equal(found[2], own_positions(2, 245.9))
    again = pastasoss_positions(str(tmp_path / "pastasoss.asdf"), 245.9)
    assert again[1] == pytest.approx(found[1])


def test_file_that_is_no_pastasoss_reference(files, tmp_path):
    """A file of another kind is refused with its name."""
    (tmp_path / "no.asdf").write_bytes(b"hello")
    with pytest.raises(SossInputError, match=r"no\.asdf is not an ASDF file"):
        pastasoss_positions(str(tmp_path / "no.asdf"), 245.76)
