"""The real calwebb_spec2, from rate files to spectra that are compared with what is true."""

import os
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import real_frame
from astropy.io import fits

from soss_photcal_steps.ratio.spectra import read_spectra
from soss_photcal_steps.report.spectrum_figure import ExtractedOrder, closure_figure, ratio_bins
from soss_photcal_steps.simulate.calspec import read_calspec
from soss_photcal_steps.simulate.crds_cache import write_crds_cache
from soss_photcal_steps.simulate.library import make_library
from soss_photcal_steps.simulate.observation import ObservationPlan, make_scene
from soss_photcal_steps.simulate.references import write_references
from soss_photcal_steps.simulate.standards import standard
from soss_photcal_steps.simulate.truth import observation_truth
from soss_photcal_steps.simulate.write import write_rate, write_rateints

BOX = "--steps.extract_1d.soss_atoca=false"
PARAMETER_FILE = Path(__file__).parents[1] / "parameter_files" / "pars-spec2pipeline.asdf"


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """Give a folder with an observation, its mean and a cache of references, and the truth."""
    folder = tmp_path_factory.mktemp("loop")
    library = make_library(4, 0)
    cache = write_crds_cache(folder / "cache", write_references(folder / "refs", library=library))
    plan = ObservationPlan(standard("bd60d1753"), nints=1, template_index=2, seed=3)
    scene = make_scene(plan, library)
    write_rateints(scene, folder / plan.filenames[0], plan.header)
    return folder, cache, plan.filenames[0], observation_truth(plan, scene)


def strun(folder, cache, *args):
    """Run ``strun`` in a process that knows of CRDS only the cache."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRDS_", "STPIPE_"))}
    return subprocess.run(
        [os.path.join(sysconfig.get_path("scripts"), "strun"), *args],
        capture_output=True, text=True, check=False, timeout=300, cwd=folder,
        env=clean | cache.environment() | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def spectra(loop):
    """Give the file of spectra that soss_spec2 writes, with no override and no network."""
    folder, cache, name, _ = loop
    result = strun(folder, cache, "soss_spec2", name, BOX)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Traceback" not in result.stdout + result.stderr
    return folder / name.replace("rateints", "x1dints")


def closure(path, truth, order):
    """Give wavelengths, ratio to the truth, and what other orders add to it, of one order."""
    found, true = read_spectra([str(path)], flux_unit="MJy").orders[order], truth.orders[order]
    rising = np.argsort(true.wavelength)

    def at(values):
        return np.interp(found.wavelength, true.wavelength[rising], values[rising])

    # Jy from MJy; the flux that is right with the photom file as it is.
    expected = 1e6 * at(true.flux * true.inside * true.filed_error)
    counts = at(true.counts * true.inside)
    with np.errstate(divide="ignore", invalid="ignore"):
        return found.wavelength, found.flux[0] / expected, at(true.neighbours) / counts


def median(wavelength, values, low, high):
    """Give the median over wavelengths."""
    inside = (wavelength > low) & (wavelength < high) & np.isfinite(values)
    assert inside.sum() > 100
    return np.median(values[inside])


def test_spectra_are_the_true_ones(loop, spectra):
    """Box spectra of one integration are true to 0.3 per cent beside what other orders add."""
    truth = loop[3]
    for order, spans in {
        1: [(0.86, 1.2), (1.2, 1.6), (1.6, 2.0), (2.0, 2.4), (2.4, 2.8)],
        2: [(0.60, 0.70), (0.70, 0.80), (0.80, 0.94)],
        3: [(0.65, 0.94)],
    }.items():
        wavelength, ratio, other = closure(spectra, truth, order)
        limit = 0.003 if order < 3 else 0.01
        for span in spans:
            assert median(wavelength, ratio - other, *span) == pytest.approx(1, abs=limit), span
    # Where the orders hardly overlap, with nothing taken off.
    for order, span in ((1, (0.9, 2.0)), (2, (0.63, 0.85))):
        wavelength, ratio, _ = closure(spectra, truth, order)
        assert median(wavelength, ratio, *span) == pytest.approx(1, abs=0.01)


def test_steps_that_ran(loop, spectra):
    """The header tells that all steps ran, pixel_replace too, and names references and context."""
    header = fits.getheader(spectra)
    for key in ("S_WCS", "S_BKDSUB", "S_FLAT", "S_PXREPL", "S_EXTR1D", "S_PHOTOM"):
        assert header[key] == "COMPLETE", key
    assert header["CRDS_CTX"] == loop[1].context
    for key in ("R_BKG", "R_FLAT", "R_PASTAS", "R_PHOTOM"):
        if key in header:
            assert header[key].startswith("crds://jwst_niriss_")
    assert header["BKGMETH"].startswith("soss_template_bkg")
    with fits.open(spectra) as hdus:
        assert [hdu.header["SPORDER"] for hdu in hdus if hdu.name == "EXTRACT1D"] == [1, 2, 3]


def test_nothing_else_is_written(loop, spectra):
    """Beside the input are the two products of calwebb_spec2, and the input is as it was."""
    folder, _, name, _ = loop
    written = {path.name for path in folder.glob(name.replace("rateints.fits", "*"))}
    assert {
        name.replace("rateints", kind) for kind in ("rateints", "calints", "x1dints")
    } <= written
    assert not [item for item in written if "rate.fits" not in item and item.startswith(".")]
    assert fits.getheader(folder / name).get("S_BKDSUB") is None


def test_parameter_file_gives_the_same(loop, spectra, tmp_path):
    """calwebb_spec2 with the parameter file that is shipped gives the very same spectra."""
    folder, cache, name, _ = loop
    result = strun(folder, cache, str(PARAMETER_FILE), name, BOX, f"--output_dir={tmp_path}")
    assert result.returncode == 0, result.stderr[-3000:]
    with fits.open(spectra) as ours, fits.open(tmp_path / spectra.name) as theirs:
        for order in (1, 2, 3):
            one, other = (hdus["EXTRACT1D", order].data["FLUX"] for hdus in (ours, theirs))
            assert np.array_equal(one, other, equal_nan=True)


def test_mean_of_a_time_series(loop, tmp_path):
    """A rate of a time series gives its spectrum, where jwst's own extraction fails."""
    folder, cache, _, _ = loop
    plan = ObservationPlan(standard("bd60d1753"), nints=2, template_index=2, seed=3)
    scene = make_scene(plan, make_library(4, 0))
    path = write_rate(scene, tmp_path / "jw_mean_rate.fits", plan.header)
    for key, value in (("TSOVISIT", True), ("NINTS", 2)):
        fits.setval(path, key, value=value)
    result = strun(folder, cache, "soss_spec2", str(path), BOX, f"--output_dir={tmp_path}")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "the spectra get none" in result.stderr
    header = fits.getheader(tmp_path / "jw_mean_x1d.fits")
    assert (header["TSOVISIT"], header["NINTS"]) == (True, 2)
    truth = observation_truth(plan, scene)
    wavelength, ratio, other = closure(tmp_path / "jw_mean_x1d.fits", truth, 1)
    assert median(wavelength, ratio - other, 0.9, 2.0) == pytest.approx(1, abs=0.003)


@pytest.fixture(scope="module")
def real_spectrum(tmp_path_factory):
    """Give the spectra of the real frame and of CALSPEC on the same wavelengths."""
    folder = tmp_path_factory.mktemp("real")
    library = real_frame.real_library()
    path = real_frame.write_frame(folder / "jw01512001001_03102_00001_nis_rate.fits", library)
    pack = write_references(folder / "refs", pwcpos=real_frame.PWCPOS, library=library)
    cache = write_crds_cache(folder / "cache", pack)
    result = strun(
        folder, cache, "soss_spec2", path.name, BOX,
        f"--steps.photom.override_photom={real_frame.PHOTOM}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    star = read_calspec(real_frame.CALSPEC)
    # The file converts to Jy, although the pipeline says MJy.
    spectra = read_spectra([str(folder / path.name.replace("rate", "x1d"))], flux_unit="Jy")
    orders = []
    for number, found in spectra.orders.items():
        edges = np.gradient(found.wavelength) / 2
        fine = np.linspace(found.wavelength - edges, found.wavelength + edges, 11)
        orders.append(
            ExtractedOrder(number, found.wavelength, found.flux[0], 1e6 * star(fine).mean(axis=0))
        )
    return folder, orders


@pytest.mark.realdata
@pytest.mark.skipif(not real_frame.FRAME.exists(), reason=f"no {real_frame.FRAME}")
def test_real_star(real_spectrum):
    """BD+60 1753 through the in-flight photom file is CALSPEC to 10 per cent, 0.9 to 1.9 um."""
    first = real_spectrum[1][0]
    bins = ratio_bins(first.wavelength, first.ratio)
    inside = (bins.start > 0.85) & (bins.stop < 1.95)
    assert inside.sum() == 10
    assert np.abs(bins.median[inside] - 1).max() < 0.06
    assert np.abs(np.array([bins.low, bins.high])[:, inside] - 1).max() < 0.10
    second = real_spectrum[1][1]
    assert median(second.wavelength, second.ratio, 0.65, 0.95) == pytest.approx(1, abs=0.05)


@pytest.mark.realdata
@pytest.mark.skipif(not real_frame.FRAME.exists(), reason=f"no {real_frame.FRAME}")
def test_picture_of_the_real_star(real_spectrum):
    """The picture of the real star's spectra can be drawn and saved."""
    folder, orders = real_spectrum
    closure_figure(orders, "BD+60 1753, box extraction").savefig(folder / "spectra.png", dpi=100)
    assert (folder / "spectra.png").stat().st_size > 30_000
