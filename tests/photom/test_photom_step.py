"""The new photom file in the pipeline's own photom step."""

import numpy as np
import pytest
from stdatamodels.jwst import datamodels

from soss_photcal_steps._jwst import table_dtype
from soss_photcal_steps.photom.header import DeliveryHeader
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.photom.time_tables import (
    ExponentialTrend,
    LinearTrend,
    PowerLawTrend,
    make_time_tables,
)
from soss_photcal_steps.photom.write import make_photom_file

HEADER = DeliveryHeader("A. Tester", "INFLIGHT 2022-06-05 2024-06-07")
ORDERS = (1, 2, 3)


def x1d(wavelengths, counts, mid_time=60000.0):
    """Make extracted spectra, DN/s, of two integrations, as extract_1d leaves them."""
    model = datamodels.TSOMultiSpecModel()
    model.meta.instrument.name = "NIRISS"
    model.meta.instrument.detector = "NIS"
    model.meta.instrument.filter = "CLEAR"
    model.meta.instrument.pupil = "GR700XD"
    model.meta.exposure.type = "NIS_SOSS"
    model.meta.exposure.mid_time = mid_time
    for order, wavelength, flux in zip(ORDERS, wavelengths, counts, strict=True):
        spec = datamodels.TSOSpecModel()
        kinds = table_dtype(spec, "spec_table")
        names = list(kinds.names)
        vectors = names[names.index("WAVELENGTH") : names.index("NPIXELS") + 1]
        dtype = [
            (name, kinds[name], (wavelength.size,)) if name in vectors else (name, kinds[name])
            for name in names
        ]
        table = np.zeros(2, dtype)
        # The pipeline's wavelengths fall.
        table["WAVELENGTH"] = wavelength[::-1]
        table["FLUX"] = flux[::-1]
        table["FLUX_ERROR"] = 0.01 * flux[::-1]
        table["N_ALONGDISP"] = wavelength.size
        spec.spec_table = table
        spec.spectral_order = order
        model.spec.append(spec)
    return model


@pytest.fixture
def calibrate(pipeline_without_crds):
    """Give a function that runs the photom step; wavelengths rise in what it returns."""
    from jwst.photom import PhotomStep

    def run(path, wavelengths, counts, mid_time=60000.0, **parameters):
        step = PhotomStep(**parameters)
        step.override_photom = str(path)
        step.override_area = "N/A"
        result = step.run(x1d(wavelengths, counts, mid_time))
        assert result.meta.cal_step.photom == "COMPLETE"
        assert {spec.spec_table.columns["FLUX"].unit for spec in result.spec} == {"MJy"}
        return [spec.spec_table["FLUX"][1, ::-1] for spec in result.spec]

    return run


def grids(path):
    """Give the wavelengths of the rows of orders 1 to 3, where their response is below 30."""
    rows = read_photom(path).rows[:3]
    return [row.wavelength[row.used][row.relresponse[row.used] < 30].astype(float) for row in rows]


def test_new_flux_is_old_flux_over_ratio(tmp_path, old_path, correction, calibrate):
    """The step's flux falls by R where R was measured, by R of the end beyond, and is old else."""
    new_path = tmp_path / "new.fits"
    corrections = [correction(1), correction(2, low=0.63, high=0.95)]
    make_photom_file(old_path, corrections, new_path, HEADER)
    wavelengths = grids(old_path)
    counts = [1000.0 + 100 * np.sin(20 * wavelength) for wavelength in wavelengths]
    old = calibrate(old_path, wavelengths, counts)
    new = calibrate(new_path, wavelengths, counts)
    for i, made in enumerate(corrections):
        ratio = np.interp(wavelengths[i], made.wavelength, made.correction)
        assert np.ptp(ratio) > 0.005
        np.testing.assert_allclose(new[i], old[i] / ratio, rtol=2e-7)
    np.testing.assert_array_equal(new[2], old[2])


def test_counts_of_the_star_give_its_model(tmp_path, old_path, correction, calibrate):
    """Counts whose ratio to the model was measured through the old file give the model back."""
    wavelengths = grids(old_path)
    inside = (wavelengths[0] > 0.9) & (wavelengths[0] < 2.8)
    counts = [np.full(wavelength.size, 500.0) for wavelength in wavelengths]
    counts[0] *= 1 + 0.3 * np.sin(5 * wavelengths[0])
    observed = calibrate(old_path, wavelengths, counts)[0]
    made = correction(1)
    model = observed / np.interp(wavelengths[0], made.wavelength, made.correction)
    assert np.all(np.abs(observed / model - 1)[inside] > 0.02)
    new_path = tmp_path / "new.fits"
    make_photom_file(old_path, [made], new_path, HEADER)
    flux = calibrate(new_path, wavelengths, counts)[0]
    assert np.max(np.abs(flux / model - 1)[inside]) < 2e-7


def test_flux_between_the_wavelengths_of_the_file(tmp_path, old_path, correction, calibrate):
    """Between the file's wavelengths, and on a grid of twice as many, R is applied to 1e-6."""
    made = correction(1)
    row = read_photom(old_path).rows[0]
    old_grid = row.wavelength[row.used].astype(float)
    grid = np.sort(np.concatenate([old_grid, (old_grid[1:] + old_grid[:-1]) / 2]))
    wavelengths = grids(old_path)
    wavelengths[0] = np.arange(1.0, 2.7, 0.00113)
    counts = [np.full(wavelength.size, 500.0) for wavelength in wavelengths]
    old = calibrate(old_path, wavelengths, counts)[0]
    ratio = np.interp(wavelengths[0], made.wavelength, made.correction)
    for name, new_grids in (("same.fits", None), ("twice.fits", {1: grid})):
        make_photom_file(old_path, [made], tmp_path / name, HEADER, grids=new_grids)
        assert read_photom(tmp_path / name).rows[0].nelem == (grid if new_grids else old_grid).size
        new = calibrate(tmp_path / name, wavelengths, counts)[0]
        assert np.max(np.abs(new / (old / ratio) - 1)) < 1e-6


TRENDS = {
    "linear": LinearTrend(t0=59800.0, lossperyear=0.02),
    "exponential": ExponentialTrend(t0=59800.0, amplitude=0.04, tau=300.0, const=0.96),
    "powerlaw": PowerLawTrend(t0=59800.0, year1value=0.97, tsoft=10.0, alpha=-0.01),
}


@pytest.mark.parametrize("name", TRENDS)
def test_time_table_at_two_dates(tmp_path, old_path, correction, calibrate, name):
    """The step divides by the throughput at each of two dates, in the order of the trend only."""
    trend = TRENDS[name]
    rows = read_photom(old_path).rows
    tables = make_time_tables(rows, {("CLEAR", "GR700XD", 1): trend})
    assert set(tables) == {f"timecoeff_{name}"}
    new_path = tmp_path / "new.fits"
    make_photom_file(old_path, [correction(1)], new_path, HEADER, time_tables=tables)
    wavelengths = grids(old_path)
    counts = [np.full(wavelength.size, 500.0) for wavelength in wavelengths]
    plain = calibrate(new_path, wavelengths, counts, apply_time_correction=False)
    throughputs = []
    for mjd in (59900.25, 60900.75):
        flux = calibrate(new_path, wavelengths, counts, mid_time=mjd)
        throughputs.append(float(trend.throughput(mjd)))
        np.testing.assert_allclose(flux[0], plain[0] / throughputs[-1], rtol=3e-7)
        np.testing.assert_array_equal(flux[1], plain[1])
    assert throughputs[0] - throughputs[1] > 0.01


def test_time_tables_are_carried_over(tmp_path, old_path, photom_table, write_table, calibrate,
                                      correction):  # fmt: skip
    """Time tables of the old file are in the new one bit for bit, and R is applied at any date."""
    trends = {
        ("CLEAR", "GR700XD", 1): LinearTrend(59800.0, 0.012345678),
        ("CLEAR", "GR700XD", 2): PowerLawTrend(59800.0, 0.98, 7.0, -0.02),
    }
    tables = make_time_tables(read_photom(old_path).rows, trends)
    write_table(old_path, photom_table, times={n.upper(): v for n, v in tables.items()})
    new_path = tmp_path / "new.fits"
    made = correction(1)
    make_photom_file(old_path, [made], new_path, HEADER)
    kept = read_photom(new_path)
    assert set(kept.time_tables) == set(tables) and len(tables) == 2
    for name, values in tables.items():
        np.testing.assert_array_equal(kept.time_tables[name], values)
    wavelengths = grids(old_path)
    counts = [np.full(wavelength.size, 500.0) for wavelength in wavelengths]
    ratio = np.interp(wavelengths[0], made.wavelength, made.correction)
    fluxes = []
    for mjd in (59900.0, 61000.0):
        old = calibrate(old_path, wavelengths, counts, mid_time=mjd)
        new = calibrate(new_path, wavelengths, counts, mid_time=mjd)
        np.testing.assert_allclose(new[0], old[0] / ratio, rtol=3e-7)
        np.testing.assert_array_equal(new[1], old[1])
        fluxes.append(new)
    assert np.all(fluxes[1][0] > 1.03 * fluxes[0][0])
    assert np.all(fluxes[1][1] > 1.005 * fluxes[0][1])
