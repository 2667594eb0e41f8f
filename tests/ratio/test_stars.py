"""CALSPEC models: finding, reading and sampling them."""

import gc
import gzip
import http.server
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.utils.data import conf
from hypothesis import given
from hypothesis import strategies as st

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.lines import line_mask
from soss_photcal_steps.ratio.sampling import (
    ModelSpectrum,
    choose_sampling,
    sample_model,
    wavelength_bins,
)
from soss_photcal_steps.ratio.standards import load_standards
from soss_photcal_steps.ratio.stars import find_calspec, read_model_spectrum

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "calspec"
NAME = "mystar_stis_003.fits"


def write_calspec(path, n=50, flux_unit="FLAM", wavelength_unit="ANGSTROMS", **changes):
    """Write a table like those of CALSPEC."""
    x = np.linspace(5000.0, 30000.0, n)
    columns = {
        "WAVELENGTH": (x, wavelength_unit), "FLUX": (1e-14 * np.ones(n), flux_unit),
        "STATERROR": (1e-16 * np.ones(n), flux_unit), "SYSERROR": (2e-16 * np.ones(n), flux_unit),
        "FWHM": (10.0 * np.ones(n), wavelength_unit),
    }  # fmt: skip
    columns.update(changes)
    made = [fits.Column(k, "D", unit, array=a) for k, (a, unit) in columns.items() if a is not None]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made)]).writeto(path)
    return path


def test_the_file_is_found_in_the_stated_order(tmp_path, monkeypatch):
    """The user's folder comes before $PYSYN_CDBS/calspec; packed files count."""
    mine, theirs = tmp_path / "mine", tmp_path / "cdbs" / "calspec"
    mine.mkdir()
    theirs.mkdir(parents=True)
    monkeypatch.setenv("PYSYN_CDBS", str(tmp_path / "cdbs"))
    (theirs / NAME).touch()
    assert find_calspec(NAME, folder=str(mine), download=False).path == str(theirs / NAME)
    (mine / f"{NAME}.gz").touch()
    found = find_calspec(NAME, folder=str(mine), download=False)
    assert found.path == str(mine / f"{NAME}.gz")
    assert "calspec_dir" in found.source
    (mine / "mystar_stis_011.fits").touch()
    latest = find_calspec("mystar_stis_*.fits", folder=str(mine))
    assert latest.path.endswith("mystar_stis_011.fits")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder over loopback, with a cache of astropy's own for the test."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            asked.append(self.path)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "astropy").mkdir(parents=True)
    monkeypatch.delenv("PYSYN_CDBS", raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}/", asked
        httpd.shutdown()
        thread.join()
    # The standard library leaves the socket of a failed request to the collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_file_is_fetched_once(server):
    """The second time the file comes from the cache, even where fetching is not allowed."""
    folder, url, asked = server
    write_calspec(folder / NAME)
    with conf.set_temp("remote_timeout", 5):
        first = find_calspec(NAME, url=url)
    assert first.source == url + NAME
    assert read_model_spectrum(first.path, NAME).wavelength.size == 50
    again = find_calspec(NAME, url=url, download=False)
    assert again.path == first.path
    assert len(asked) == 1


def test_a_file_that_is_nowhere_is_named_with_its_place(server):
    """A file that the server does not have, or that may not be fetched, is one sentence."""
    _, url, asked = server
    for download in (True, False):
        with pytest.raises(SossInputError, match=r"mystar_stis_003\.fits was not found.*put it"):
            find_calspec(NAME, url=url, download=download)
    assert len(asked) >= 1
    for name in ("../x.fits", "a b.fits", ""):
        with pytest.raises(SossInputError, match="not the name"):
            find_calspec(name)


@pytest.mark.parametrize("packed", [False, True])
def test_fluxes_are_brought_to_jansky(tmp_path, packed):
    """F_lambda becomes F_nu in Jy as astropy has it, with its errors, also of a packed file."""
    path = write_calspec(tmp_path / NAME)
    if packed:
        path = tmp_path / f"{NAME}.gz"
        path.write_bytes(gzip.compress((tmp_path / NAME).read_bytes()))
    model = read_model_spectrum(path)
    x = np.linspace(0.5, 3.0, 50)
    np.testing.assert_allclose(model.wavelength, x)
    expected = (1e-14 * units.Unit("erg/(s cm2 AA)")).to(
        units.Jy, equivalencies=units.spectral_density(x * units.um)
    )
    np.testing.assert_allclose(model.flux, expected.value, rtol=1e-12)
    np.testing.assert_allclose(model.stat_error, 0.01 * expected.value, rtol=1e-12)
    np.testing.assert_allclose(model.sys_error, 0.02 * expected.value, rtol=1e-12)
    np.testing.assert_allclose(model.fwhm, 1e-3)


def test_other_units_and_plain_tables_are_read(tmp_path):
    """Jy and um, and two columns of text with or without units, give the same model."""
    x, y = np.linspace(0.5, 3.0, 50), np.full(50, 0.25)
    first = read_model_spectrum(
        write_calspec(tmp_path / "a.fits", WAVELENGTH=(x, "um"), FLUX=(y, "Jy"),
                      STATERROR=(None, ""), SYSERROR=(None, ""), FWHM=(None, ""))
    )  # fmt: skip
    np.testing.assert_allclose(first.flux, 0.25)
    assert (first.stat_error == 0).all()
    assert first.fwhm is None
    from astropy.table import QTable

    QTable({"WAVELENGTH": x * units.um, "FLUX": y * units.Jy}).write(tmp_path / "b.ecsv")
    second = read_model_spectrum(tmp_path / "b.ecsv")
    np.testing.assert_allclose(second.flux, first.flux)
    text = "\n".join(f"{1e4 * a} {1e-14}" for a in x)
    (tmp_path / "c.txt").write_text(text)
    third = read_model_spectrum(tmp_path / "c.txt")
    np.testing.assert_allclose(third.wavelength, x)
    np.testing.assert_allclose(
        third.flux, read_model_spectrum(write_calspec(tmp_path / "d.fits")).flux
    )


def test_unordered_and_bad_points_are_dealt_with(tmp_path):
    """Falling wavelengths are turned, repeated ones and NaN are left out."""
    x = np.linspace(30000.0, 5000.0, 50)
    x[3] = x[2]
    flux = np.full(50, 1e-14)
    flux[10] = np.nan
    path = write_calspec(tmp_path / NAME, WAVELENGTH=(x, "ANGSTROMS"), FLUX=(flux, "FLAM"))
    model = read_model_spectrum(path)
    assert model.wavelength.size == 48
    assert (np.diff(model.wavelength) > 0).all()


@pytest.mark.parametrize("what", ["missing", "text", "unit", "columns", "cut", "empty"])
def test_a_wrong_model_is_one_sentence(tmp_path, what):
    """A model that cannot be used is named, with what is wrong."""
    path = tmp_path / NAME
    if what == "text":
        path.write_text("this is\nno table at all\n")
    elif what == "unit":
        write_calspec(path, flux_unit="mag")
    elif what == "columns":
        write_calspec(path, FLUX=(None, ""))
    elif what == "cut":
        write_calspec(path, n=2000)
        path.write_bytes(path.read_bytes()[:30000])
    elif what == "empty":
        path.touch()
    with pytest.raises(SossInputError, match=r"mystar_stis_003\.fits"):
        read_model_spectrum(path)


def test_a_text_with_a_line_that_no_model_has_is_refused(tmp_path):
    """One value of 3,000 digits, which would make each row as wide, is told with its length."""
    path = tmp_path / "wide.txt"
    path.write_text("10000 1e-14\n20000 " + 3000 * "1" + "x\n30000 1e-14\n")
    with pytest.raises(SossInputError, match=r"wide\.txt.* has a line of 3008 characters"):
        read_model_spectrum(path)


def test_a_text_of_more_lines_than_a_model_has_is_refused(tmp_path):
    """A model of two million lines and one more, which takes long to read, is refused."""
    path = tmp_path / "long.txt"
    path.write_text("10000 1e-14\n" * 2_000_001)
    with pytest.raises(SossInputError, match=r"long\.txt.* has more than 2000000 lines"):
        read_model_spectrum(path)


def test_a_text_with_half_a_quotation_is_refused(tmp_path):
    """A quotation mark without its second one, which would join the rows after it, is told."""
    path = tmp_path / "quote.txt"
    path.write_text('10000 1e-14\n20000 "2e-14\n30000 1e-14\n')
    with pytest.raises(SossInputError, match=r"quote\.txt.* quotation mark has no second one"):
        read_model_spectrum(path)


def test_a_mark_of_inches_in_a_comment_is_no_quotation(tmp_path):
    """A text model whose comment holds a single quotation mark is read as it is without it."""
    rows = "".join(f"{x} {1e-14}\n" for x in range(10000, 10050))
    plain, marked = tmp_path / "plain.txt", tmp_path / "marked.txt"
    plain.write_text(rows)
    marked.write_text('# slit of 52x2"\n' + rows)
    np.testing.assert_array_equal(read_model_spectrum(marked).flux, read_model_spectrum(plain).flux)


def model_of(x, y, fwhm=None):
    """Make a model without errors."""
    return ModelSpectrum(x, y, 0.01 * np.abs(y), 0.02 * np.abs(y), fwhm)


@given(st.floats(-5, 5), st.floats(-3, 3), st.sampled_from(["interpolate", "integrate", "auto"]))
def test_a_straight_model_is_sampled_exactly(level, slope, sampling):
    """However it is sampled, a straight model keeps its values on an even grid."""
    fine = np.linspace(0.8, 3.0, 20001)
    grid = np.linspace(1.0, 2.0, 101)
    found = sample_model(model_of(fine, level + slope * fine), grid, sampling)
    np.testing.assert_allclose(found.flux, level + slope * grid, atol=1e-9)


def test_integration_conserves_the_flux_of_a_line():
    """A narrow line has its whole flux in the bins, wherever it falls between their centres."""
    fine = np.linspace(0.8, 3.0, 200001)
    grid = np.linspace(1.0, 2.0, 401)
    width = np.diff(wavelength_bins(grid))
    for centre in (1.5, 1.5007, 1.5012):
        line = np.exp(-0.5 * ((fine - centre) / 1e-4) ** 2)
        found = sample_model(model_of(fine, line), grid, "integrate").flux
        assert (found * width).sum() == pytest.approx(1e-4 * np.sqrt(2 * np.pi), rel=1e-6)


def test_auto_tells_a_fine_model_from_a_coarse_one():
    """A resolution element of a tenth of a bin is integrated, one of three bins interpolated."""
    grid = np.linspace(1.0, 2.0, 1001)
    fine = np.linspace(0.9, 2.1, 12001)
    assert choose_sampling(model_of(fine, fine), grid).all()
    assert not choose_sampling(model_of(fine, fine, np.full(12001, 0.003)), grid).any()
    coarse = np.linspace(0.9, 2.1, 1201)
    assert not choose_sampling(model_of(coarse, coarse), grid).any()


def test_errors_of_an_integrated_model():
    """The statistical error falls with the points in a bin, the systematic one does not."""
    fine = np.linspace(0.9, 2.1, 12001)
    grid = np.linspace(1.0, 2.0, 101)
    found = sample_model(model_of(fine, np.ones(12001)), grid, "integrate")
    np.testing.assert_allclose(found.stat_error[1:-1], 0.01 / 10, rtol=0.02)
    np.testing.assert_allclose(found.sys_error, 0.02)


def test_nothing_is_made_up_beyond_the_model():
    """Wavelengths beyond the model are NaN."""
    x = np.linspace(1.0, 2.0, 1001)
    found = sample_model(model_of(x, x), np.linspace(0.5, 2.5, 201))
    outside = np.isnan(found.flux)
    assert outside[:50].all()
    assert outside[-50:].all()
    assert not outside[52:148].any()


def test_convolution_widens_a_line_and_keeps_its_flux():
    """Convolution with 2 pixels gives a line the width of 2 pixels, with the same flux."""
    fine = np.linspace(1.3, 1.7, 200001)
    grid = np.linspace(1.4, 1.6, 201)
    line = np.exp(-0.5 * ((fine - 1.5) / 1e-5) ** 2)
    found = sample_model(model_of(fine, line), grid, "integrate", 2.0).flux
    assert found.sum() * 1e-3 == pytest.approx(1e-5 * np.sqrt(2 * np.pi), rel=0.01)
    centre = (found * grid).sum() / found.sum()
    sigma = np.sqrt((found * (grid - centre) ** 2).sum() / found.sum())
    # The bin itself adds its width.
    assert sigma * 2.3548 == pytest.approx(np.hypot(2e-3, 2.3548 * 1e-3 / np.sqrt(12)), rel=0.02)


def test_a_grid_that_does_not_rise_raises():
    """Falling or single wavelengths raise."""
    for grid in ([2.0, 1.0], [1.0], [1.0, 1.0]):
        with pytest.raises(ValueError, match="rising"):
            wavelength_bins(np.array(grid))


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of CALSPEC files is not there")
@pytest.mark.parametrize(
    ("old", "new", "star", "level"),
    [("bd60d1753_stiswfc_003.fits", "bd60d1753_stiswfc_004.fits.gz", "BD+60 1753", 0.004),
     ("p330e_stiswfcnic_003.fits", "p330e_stiswfcnic_006.fits.gz", "P330E", 0.01)],
)  # fmt: skip
def test_versions_of_a_standard_differ_mostly_in_lines(old, new, star, level):
    """Two versions agree within their systematic error, and differ more inside the lines."""
    table = load_standards()
    x = np.linspace(0.86, 2.8, 2000)
    one, other = (sample_model(read_model_spectrum(REAL / name), x) for name in (old, new))
    ratio = one.flux / other.flux
    assert np.isfinite(ratio).all()
    assert np.abs(np.median(ratio) - 1) < level
    smooth = np.interp(x, x[25::50], [np.median(part) for part in np.split(ratio, 40)])
    rest = np.abs(ratio - smooth)
    lines = line_mask(x, table.line_windows[table.by_name(star).kind]) != 0
    assert np.percentile(rest[lines], 95) > 1.3 * np.percentile(rest[~lines], 95)
