"""Template libraries: the break, the levels, the differences."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.simulate.library import (
    BreakShape,
    break_columns,
    draw_template,
    make_library,
    right_fraction,
)

_DATA = Path(
    os.environ.get("SOSS_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
needs_data = pytest.mark.skipif(not _DATA.is_dir(), reason=f"no real data in {_DATA}")


@pytest.fixture(scope="module")
def library():
    """Background templates for all tests of this file."""
    return make_library(18, seed=3)


def _half_level(row):
    """Column at which a row of a template is half way up its sharp step."""
    low, high = np.median(row[640:670]), np.median(row[712:722])
    return np.interp(0.5 * (low + high), row[670:712], np.arange(670, 712))


def test_same_seed_same_library(library):
    """The seed fixes the library, and a longer one begins with the shorter one."""
    again = make_library(4, seed=3)
    assert np.array_equal(library.data[:4], again.data)
    assert not np.array_equal(library.data[0], make_library(1, seed=4).data[0])


def test_levels_and_ratio(library):
    """Right over left is 1.55 within a few per cent and the right falls by half to the edge."""
    data = library.data.astype(float)
    ratio = data[:, :, 780:900].mean(axis=(1, 2)) / data[:, :, 500:660].mean(axis=(1, 2))
    assert np.median(ratio) == pytest.approx(1.58, abs=0.05)
    assert 0.005 < ratio.std() / ratio.mean() < 0.05
    fall = data[:, :, 2030].mean(axis=1) / data[:, :, 850].mean(axis=1)
    assert np.median(fall) == pytest.approx(0.48, abs=0.05)


def test_break_is_tilted(library):
    """The break moves by 0.032 columns per row, 7.5 columns over SUBSTRIP256."""
    columns = [_half_level(row) for row in library.data[0].astype(float)]
    slope = np.polyfit(np.arange(256), columns, 1)[0]
    assert slope == pytest.approx(0.032, abs=0.002)
    assert break_columns(np.array([0, 250]))[1] - break_columns(np.array([0]))[0] == pytest.approx(
        8
    )


def test_break_has_a_core_and_a_tail():
    """Half of the sharp part lies within 6 columns, and a tail still lacks 5 per cent at 50."""
    shape = BreakShape()
    share = right_fraction(np.array([0.0]), np.arange(2048.0), shape)[0]
    at = np.interp(shape.column + np.array([-10, -3, 3, 50, 200]), np.arange(2048.0), share)
    assert at[0] < 0.01
    assert at[2] - at[1] > 0.3
    assert 0.02 < 1 - at[3] < 0.09
    assert 1 - at[4] < 1e-3
    assert (np.diff(share) >= 0).all()


def test_templates_differ_by_per_cents(library):
    """After scaling each side, templates differ by 0.3 to 10 per cent and smoothly."""
    data = library.data[:, ::32, ::16].astype(float)
    for side in (np.s_[:, :, :40], np.s_[:, :, 50:]):
        part = data[side] / data[side].mean(axis=(1, 2), keepdims=True)
        shape = (part / part.mean(axis=0)).std(axis=(1, 2))
        assert 0.003 < np.median(shape) < 0.05
        assert shape.max() < 0.1
    ratio = library.data[0].astype(float) / library.data[1]
    steps = np.abs(np.diff(ratio, axis=1))[:, 760:]
    assert steps.max() < 3e-4


def test_extra_mode_leaves_the_family():
    """The extra mode of 2 per cent changes the shape by 1.4 per cent rms, and nothing else."""
    rows = np.arange(256)
    plain = draw_template(np.random.default_rng(5), rows)
    extra = draw_template(np.random.default_rng(5), rows, extra_mode=0.02)
    change = extra / plain - 1
    assert change.std() == pytest.approx(0.02 / np.sqrt(2), rel=0.25)
    assert np.abs(change).max() <= 0.0201


def test_subarrays_share_rows(library):
    """A FULL template has the SUBSTRIP256 template in its top rows, SUBSTRIP96 in rows 10-105."""
    full, strip = make_library(1, 3, subarray="FULL"), make_library(1, 3, subarray="SUBSTRIP96")
    assert full.data.shape == (1, 2048, 2048) and strip.data.shape == (1, 96, 2048)
    assert np.array_equal(full.cut("SUBSTRIP256")[0], library.data[0])
    assert np.array_equal(library.cut("SUBSTRIP96")[0], strip.data[0])
    assert np.array_equal(library.data[0, 10:106], strip.data[0])
    with pytest.raises(SossInputError, match="cannot serve SUBSTRIP256"):
        strip.cut("SUBSTRIP256")


def test_noise_is_a_fraction():
    """Noise of 1 per cent gives pixels that scatter by 1 per cent."""
    smooth, noisy = make_library(1, 2), make_library(1, 2, noise=0.01)
    assert (noisy.data / smooth.data).std() == pytest.approx(0.01, rel=0.02)


def test_empty_library_is_refused():
    """A library without templates is refused."""
    with pytest.raises(SossInputError, match="at least one template"):
        make_library(0)


@pytest.mark.realdata
@needs_data
def test_reference_shape_is_the_published_template():
    """Without variation the template follows the published one within 3 per cent, 1 rms."""
    real = np.load(_DATA / "crds_ref" / "model_background96.npy")
    mine = make_library(1, variation=0.0, subarray="SUBSTRIP96").data[0]
    inner = np.s_[:, 10:2040]
    relative = mine[inner] / real[inner]
    relative /= np.median(relative)
    smooth = relative.reshape(12, 8, -1, 10).mean(axis=(1, 3))
    assert np.abs(smooth - 1).max() < 0.03
    assert smooth.std() < 0.01


@pytest.mark.realdata
@needs_data
def test_break_of_the_real_frame():
    """On the frame of WASP-39 the break is within 1.5 columns of its line, at rows 10 and 230."""
    frame = np.load(_DATA / "soss_frames" / "wasp39b_medframe.npy").astype(float)
    for rows in (slice(6, 24), slice(215, 247)):
        profile = np.nanmedian(frame[rows], axis=0)
        expected = break_columns(np.array([0.5 * (rows.start + rows.stop - 1)]))[0]
        assert _half_level(profile) == pytest.approx(expected + 0.3, abs=1.5)


def test_other_break_shape():
    """The break goes where its shape says."""
    shape = replace(BreakShape(), column=650.0, tilt=0.0)
    library = make_library(1, variation=0.0, break_shape=shape)
    row = library.data[0, 100].astype(float)
    assert np.argmax(np.diff(row)) == pytest.approx(650, abs=2)
