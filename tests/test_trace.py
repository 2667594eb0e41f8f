"""Positions and wavelengths of the traces."""

import os
from pathlib import Path

import numpy as np
import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.trace import (
    PWCPOS_COMMANDED,
    SUBSTRIP256_FIRST_ROW,
    rotate_trace,
    subarray_rows,
    trace_positions,
    wavelengths,
)

_DATA = Path(
    os.environ.get("SOSS_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)
needs_data = pytest.mark.skipif(not _DATA.is_dir(), reason=f"no real data in {_DATA}")

# Entries of the published tables: order, column, row at the commanded angle.
PUBLISHED = [
    (1, 4, 84.67760),
    (1, 2043, 75.13216),
    (2, 0, 104.42862),
    (2, 4, 104.33816),
    (2, 2046, 404.27271),
    (2, 2047, 405.11731),
]


@pytest.mark.parametrize(("order", "column", "row"), PUBLISHED)
def test_published_positions(order, column, row):
    """The series give single entries of the published tables within 0.05 pixels."""
    assert trace_positions(order, PWCPOS_COMMANDED, np.array([column]))[0] == pytest.approx(
        row, abs=0.05
    )


@pytest.mark.parametrize(("order", "column"), [(1, 1887), (2, 1677)])
def test_pivot_stays(order, column):
    """A turn of the pupil wheel leaves the trace where it is at the pivot."""
    here = trace_positions(order, 245.76, np.array([column]))
    there = trace_positions(order, 245.90, np.array([column]))
    assert abs(there - here)[0] < 0.02


@pytest.mark.parametrize("order", [1, 2, 3])
def test_rotation_is_rigid(order):
    """Distances between points far along the trace do not change when the wheel turns."""
    pivot = {1: (1887.0, 54.0), 2: (1677.0, 200.0), 3: (1444.0, 361.0)}[order]
    columns = np.arange(100.0, 1900.0, 10.0)
    still = trace_positions(order, PWCPOS_COMMANDED, columns)
    turned = trace_positions(order, PWCPOS_COMMANDED + 0.12, np.arange(0.0, 2048.0))
    angle = np.radians(0.12)
    x = (columns - pivot[0]) * np.cos(angle) - (still - pivot[1]) * np.sin(angle) + pivot[0]
    y = (columns - pivot[0]) * np.sin(angle) + (still - pivot[1]) * np.cos(angle) + pivot[1]
    assert np.abs(np.interp(x, np.arange(2048.0), turned) - y).max() < 1e-3
    assert np.abs(turned[200] - still[10]) > 2.0


def test_positions_go_on_above_the_subarray():
    """Orders 2 and 3 rise steadily out of SUBSTRIP256 to rows beyond 400."""
    for order, leaves in ((2, 1816), (3, 1209)):
        rows = trace_positions(order, PWCPOS_COMMANDED)
        assert np.argmax(rows > 255.5) == pytest.approx(leaves, abs=3)
        assert (np.diff(rows[900:]) > 0).all()
        assert 400 < rows[-1] < 600


def test_reference_table_gives_the_same_as_the_series():
    """Rotating a table as a reference file has it agrees with the package's own series."""
    x = np.arange(2048.0)
    y = trace_positions(1, PWCPOS_COMMANDED, x)
    kept = x.copy(), y.copy()
    rows = rotate_trace(x[::-1], y[::-1], (1887.0, 54.0), 245.65)
    assert np.abs(rows - trace_positions(1, 245.65))[5:-5].max() < 1e-3
    assert np.abs(rows - trace_positions(1, 245.65)).max() < 0.05
    assert np.array_equal(x, kept[0]) and np.array_equal(y, kept[1])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.arange(3.0), np.arange(4.0)),
        (np.array([1.0]), np.array([1.0])),
        (np.array([0.0, 1.0, np.nan]), np.arange(3.0)),
    ],
)
def test_bad_tables_are_refused(x, y):
    """A table of the wrong shape or with NaN is refused with a sentence."""
    with pytest.raises(SossInputError, match="trace table"):
        rotate_trace(x, y, (0.0, 0.0), 245.76)


def test_wavelength_ranges():
    """Order 1 runs from 2.83 to 0.85 um, order 2 from 1.42 to 0.6 and order 3 from 0.96 to 0.72."""
    assert wavelengths(1)[[0, -1]] == pytest.approx([2.833, 0.847], abs=0.003)
    assert wavelengths(2)[[600, 1750]] == pytest.approx([1.128, 0.600], abs=0.005)
    assert wavelengths(3)[[0, 799]] == pytest.approx([0.9564, 0.7193], abs=1e-4)
    for order in (1, 2):
        assert (np.diff(wavelengths(order)) < 0).all()


def test_wavelengths_move_with_the_wheel():
    """Turning the wheel by 0.1 degrees moves order 1 by a fraction of a pixel to some pixels."""
    columns = np.arange(100, 2000)
    shift = wavelengths(1, columns, 245.86) - wavelengths(1, columns, 245.76)
    pixels = shift / np.gradient(wavelengths(1, columns))
    assert 0.05 < np.abs(pixels).max() < 10


def test_subarrays():
    """SUBSTRIP256 starts at row 1793 and SUBSTRIP96 ten rows above it, counted from one."""
    assert subarray_rows("SUBSTRIP256") == slice(1792, 2048)
    assert subarray_rows("substrip96") == slice(1802, 1898)
    assert subarray_rows("FULL") == slice(0, 2048)
    assert subarray_rows("SUBSTRIP96").start - SUBSTRIP256_FIRST_ROW == 10


def test_unknown_names_are_refused():
    """Order 4 and other subarrays are refused with a sentence."""
    with pytest.raises(SossInputError, match="order 4"):
        trace_positions(4)
    with pytest.raises(SossInputError, match="order 0"):
        wavelengths(0)
    with pytest.raises(SossInputError, match="SUB80"):
        subarray_rows("SUB80")


@pytest.mark.realdata
@needs_data
@pytest.mark.parametrize(
    ("order", "name", "limit"),
    [
        (1, "jwst_niriss_gr700xd_order1_trace_refmodel.txt", 0.05),
        (2, "jwst_niriss_gr700xd_order2_trace_refmodel_002.txt", 1e-4),
    ],
)
def test_published_tables(order, name, limit):
    """The series follow the whole published table within the residual that the module states."""
    table = np.loadtxt(_DATA / "soss_trace" / name)[1:]
    assert np.abs(trace_positions(order, PWCPOS_COMMANDED, table[:, 0]) - table[:, 1]).max() < limit


@pytest.mark.realdata
@needs_data
@pytest.mark.parametrize("visit", ["01201_obs101", "02589_obs001"])
def test_measured_centroids(visit):
    """One wheel angle puts all three orders on measured centroids within 0.5 pixels (median)."""
    for order, inside in ((1, slice(20, 2030)), (2, slice(700, 1550)), (3, slice(20, 800))):
        table = np.loadtxt(
            _DATA / "soss_trace" / f"centroids_o{order}_substrip256_{visit}.txt", skiprows=1
        )
        difference = table[inside, 1] - trace_positions(order, 245.655, table[inside, 0])
        assert np.median(np.abs(difference)) < 0.5
        assert np.abs(difference).max() < 2.0


@pytest.mark.realdata
@needs_data
def test_centroids_of_bd60():
    """On the frame of BD+60 1753 order 1 lies within 1.3 pixels of its predicted place."""
    name = "jw01512001001_03102_00001_nis_demo_pwcpos_245.778671.npy"
    frame = np.load(_DATA / "soss_frames" / name)
    columns = np.arange(100, 2000, 50)
    rows = trace_positions(1, 245.778671, columns)
    offsets = []
    for column, row in zip(columns, rows, strict=True):
        profile = np.median(frame[:, column - 4 : column + 5], axis=1)
        near = np.abs(np.arange(256) - row) < 16
        light = profile[near] - profile[near].min()
        offsets.append((light * (np.arange(256)[near] - row)).sum() / light.sum())
    assert np.abs(offsets).max() < 1.3
    assert np.median(np.abs(offsets)) < 0.5


@pytest.mark.realdata
@needs_data
@pytest.mark.parametrize(
    ("order", "columns", "pixels"),
    [(1, slice(0, 2048), 2.5), (2, slice(600, 1750), 3.0), (3, slice(0, 800), 0.01)],
)
def test_measured_wavelengths(order, columns, pixels):
    """The wavelengths agree with the in-flight tables of an A star within some pixels."""
    table = np.loadtxt(_DATA / "soss_trace" / f"wavecal_o{order}_afstar.txt", skiprows=1)
    difference = wavelengths(order, np.arange(table.size)) - table
    assert np.abs(difference / np.gradient(table))[columns].max() < pixels
