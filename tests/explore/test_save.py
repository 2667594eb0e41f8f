"""What the explorer saves is what strun then does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps.contamination.table import read_table
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.explore.load import load_exposure
from soss_photcal_steps.explore.save import parameters, save
from soss_photcal_steps.explore.setting import Region
from soss_photcal_steps.explore.state import ExplorerState

STRUN = Path(sys.executable).with_name("strun")


@pytest.fixture
def references(store):
    """Give what the explorer was started with."""
    return {"override_bkg": str(store / "lib.fits"), "override_pastasoss": None}


@pytest.mark.parametrize("kind", ["the fit", "another template", "by hand"])
def test_strun_repeats_what_was_saved(state, rateints, references, tmp_path, kind):
    """Scales, levels and the background of strun are those of the page, to 1e-6."""
    state.paint(Region.box((900, 1300), (5, 20)))
    if kind == "another template":
        state.choose(2)
    elif kind == "by hand":
        state.set_scales(1.0834567891234, 0.912345678)
    saved = save(state, tmp_path, references)
    done = subprocess.run(
        [STRUN, saved.parameters, str(rateints), f"--output_dir={tmp_path}",
         "--save_background=true"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    product = tmp_path / rateints.name.replace("rateints", "bsubints")
    with fits.open(product) as hdus:
        header, subtracted = hdus[0].header, hdus["SCI"].data
        assert header["BKGTMPL"] == state.template
        shown = {"BKGSCLL": state.scales[0], "BKGSCLR": state.scales[1],
                 "BKGLEVL": state.levels[0], "BKGLEVR": state.levels[1]}  # fmt: skip
        for key, value in shown.items():
            assert header[key] == pytest.approx(value, rel=1e-6), key
        if kind != "by hand":
            assert header["BKGERRL"] == pytest.approx(state.fitted_scales[1, 0], rel=1e-6)
        with fits.open(rateints) as before:
            taken = before["SCI"].data - subtracted
    # The difference of two numbers of single precision is known to that of the larger.
    limit = 1e-6 * np.nanmax(np.abs(state.background())) + 2e-7 * np.abs(subtracted)
    assert (np.abs(taken - state.background())[np.isfinite(taken)]
            <= limit[np.isfinite(taken)]).all()  # fmt: skip
    background = fits.getdata(tmp_path / rateints.name.replace("rateints", "sossbkg"))
    assert np.allclose(background, state.background(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["the fit", "by hand"])
def test_strun_repeats_the_scales_of_all_segments(store, segments, references, tmp_path, kind):
    """Each line that is shown gives its segment the scales and background of the page."""
    state = ExplorerState(load_exposure(segments, override_bkg=references["override_bkg"]))
    if kind == "by hand":
        state.set_scales(1.0834567891234, 0.912345678)
    saved = save(state, tmp_path, references)
    lines = saved.command.splitlines()
    assert [line.split()[-1] for line in lines] == segments
    for line, path in zip(lines, segments, strict=True):
        done = subprocess.run(
            [STRUN, *line.split()[1:], f"--output_dir={tmp_path}"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with fits.open(tmp_path / Path(path).name.replace("rateints", "bsubints")) as hdus:
            assert hdus[0].header["BKGTMPL"] == state.template
            assert hdus[0].header["BKGSCLL"] == pytest.approx(state.scales[0], rel=1e-6)
            assert hdus[0].header["BKGSCLR"] == pytest.approx(state.scales[1], rel=1e-6)
            with fits.open(path) as before:
                assert len(before["SCI"].data) == len(hdus["SCI"].data)
                taken = before["SCI"].data - hdus["SCI"].data
        assert np.nanmedian(np.abs(taken / state.background() - 1)) < 1e-5


def test_parameters_say_no_more_than_was_chosen(state):
    """Untouched, the step is to fit; a chosen template is named; scales need their template."""
    assert "template" not in parameters(state)
    assert "scales" not in parameters(state)
    assert "fit_with" not in parameters(state)
    state.choose(2)
    assert parameters(state)["template"] == 2
    assert "scales" not in parameters(state)
    state.set_scales(1.0, 2.0)
    assert parameters(state)["scales"] == [1.0, 2.0]
    assert parameters(state)["template"] == 2


def test_nothing_is_replaced(state, references, tmp_path):
    """Saving twice gives two sets of files, and the first stays as it was."""
    first = save(state, tmp_path, references)
    content = Path(first.parameters).read_bytes()
    state.set_scales(1.0, 2.0)
    state.paint(Region.box((900, 1300), (5, 20)))
    second = save(state, tmp_path, references)
    assert first.parameters != second.parameters
    assert Path(first.parameters).read_bytes() == content
    assert not first.mask
    assert fits.getdata(second.mask).sum() == 401 * 16
    assert len(list(tmp_path.iterdir())) == 3


def test_a_link_in_the_way_is_not_followed(state, references, tmp_path):
    """A dangling symbolic link of the product's name is left alone."""
    name = Path(save(state, tmp_path, references).parameters).name
    os.remove(tmp_path / name)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    saved = save(state, tmp_path, references)
    assert Path(saved.parameters).name != name
    assert not (tmp_path / "elsewhere").exists()


def test_intervals_are_a_table_for_the_ratio_step(state, references, tmp_path):
    """The chosen wavelengths come back from the table that was written."""
    state.find_contaminants()
    count = len(state.contamination.sources)
    number = next(k for k in range(1, count + 1) if state.rows_of(k))
    state.toggle_source(number)
    saved = save(state, tmp_path, references)
    rows = read_table(saved.intervals)
    found = [(row["order"], row["low"], row["high"]) for row in rows]
    expected = [
        (row.interval.order, round(row.interval.low, 5), round(row.interval.high, 5))
        for row in state.setting.intervals
    ]
    assert found == expected
    assert str(saved.command).startswith("strun ")


def test_folder_that_is_not_there_is_named(state, references, tmp_path):
    """A folder that does not exist gives a sentence with its name."""
    with pytest.raises(SossInputError, match="nowhere"):
        save(state, tmp_path / "nowhere", references)
