"""A photom file made up for the tests, in the layout and on the scale of the one in flight."""

import numpy as np
import pytest
from astropy.io import fits

HEADER = {
    "TELESCOP": "JWST",
    "INSTRUME": "NIRISS",
    "DETECTOR": "NIS",
    "EXP_TYPE": "NIS_SOSS",
    "REFTYPE": "PHOTOM",
    "DATAMODL": "NisSossPhotomModel",
    "AUTHOR": "A. Tester",
    "PEDIGREE": "INFLIGHT 2022-06-05 2022-06-07",
    "USEAFTER": "2022-01-01T00:00:00",
    "DESCRIP": "Made up for a test.",
    "PIXAR_SR": 1.009e-13,
    "PIXAR_A2": 0.004294,
}
WIDTH = 700
# Filter, order, first and last wavelength (um), number of wavelengths, photmj (Jy/(DN/s)).
MODES = (
    ("CLEAR", 1, 0.757, 3.119, 600, 5.1416595e-5),
    ("CLEAR", 2, 0.506, 1.566, 500, 5.1416595e-5),
    ("CLEAR", 3, 0.505, 1.050, 400, 5.1416595e-5),
    ("F277W", 1, 1.979, 3.113, 300, 1.0376357e-4),
)


def photom_table():
    """Give the table, with a response like a bowl that rises to 200 at the ends."""
    table = np.zeros(
        len(MODES),
        [
            ("filter", "S12"),
            ("pupil", "S15"),
            ("order", "i2"),
            ("photmj", "f4"),
            ("uncertainty", "f4"),
            ("nelem", "i2"),
            ("wavelength", "f4", (WIDTH,)),
            ("relresponse", "f4", (WIDTH,)),
            ("reluncertainty", "f4", (WIDTH,)),
        ],
    )
    for i, (name, order, low, high, n, photmj) in enumerate(MODES):
        x = np.linspace(-1, 1, n)
        table[i] = (name, "GR700XD", order, photmj, 0.0, n, 0.0, 0.0, 0.0)
        table["wavelength"][i, :n] = np.linspace(low, high, n)
        table["relresponse"][i, :n] = 0.3 * np.exp(0.6 * x + 6 * x**6)
    return table


def write_photom_table(path, table, *, header=HEADER, times=None, history=("Made for a test.",)):
    """Write a table, and time tables, as a photom file, whatever they hold."""
    primary = fits.PrimaryHDU()
    for key, value in header.items():
        primary.header[key] = value
    for line in history:
        primary.header["HISTORY"] = line
    hdus = [primary, fits.BinTableHDU(table, name="PHOTOM")]
    hdus += [fits.BinTableHDU(values, name=name) for name, values in (times or {}).items()]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


@pytest.fixture(name="photom_table")
def photom_table_fixture():
    """Give a table that is good, for a test to damage."""
    return photom_table()


@pytest.fixture
def good_header():
    """Give a header that is good, for a test to damage."""
    return dict(HEADER)


@pytest.fixture
def write_table():
    """Give the function that writes a table as a photom file."""
    return write_photom_table


@pytest.fixture
def old_path(tmp_path):
    """Give a good photom file."""
    return write_photom_table(tmp_path / "old.fits", photom_table())


@pytest.fixture
def correction():
    """Give a function that makes the correction of an order, a slope in wavelength."""
    from soss_photcal_steps.combine.correction import OrderCorrection

    def make(order=1, low=0.9, high=2.8, stat=0.002, sys=0.01, **other):
        wavelength = np.linspace(low, high, 400)
        ratio = 1.03 + 0.02 * (wavelength - low)
        return OrderCorrection(
            order, wavelength, ratio, np.full(400, stat), np.full(400, sys), **other
        )

    return make
