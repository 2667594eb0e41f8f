"""Parameter files that are damaged, for another step, or of strangers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from damaging.hostile import _BOMB

from soss_photcal_steps.cli import main
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photcal.photcal_pipeline import SossPhotcalPipeline
from soss_photcal_steps.ratio.ratio_step import SossRatioStep

STRUN = Path(sys.executable).with_name("strun")
HEAD = "#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n"
RATIO = "class: soss_photcal_steps.ratio.ratio_step.SossRatioStep\nname: soss_ratio\n"


def write(path, parameters="{save_plots: true}", *, head=RATIO, end="...\n"):
    """Write a parameter file."""
    path.write_text(f"{HEAD}--- !core/asdf-1.1.0\n{head}parameters: {parameters}\n{end}")
    return path


def test_a_good_file_is_taken(tmp_path):
    """The values of a parameter file are those of the step, as before."""
    path = write(tmp_path / "a.asdf", "{save_plots: true, mask_ranges: false}")
    config, _ = SossRatioStep.build_config(None, config_file=path)
    step = SossRatioStep.from_config_section(config)
    assert (step.save_plots, step.mask_ranges) == (True, False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"end": ""}, "is truncated; its end is missing"),
        ({"parameters": "{save_plots: tr"}, "cannot be read: while parsing"),
        ({"parameters": "{sigmo: 3}"}, "there is no parameter sigmo"),
        ({"parameters": "{save_plots: perhaps}"}, "save_plots.* wrong type"),
        ({"parameters": "{save_plots: {}}"}, "of a kind that no parameter has"),
        ({"parameters": "{model: !!python/object/apply:os.system ['touch pwned']}"}, "Python obj"),
        ({"parameters": "{model: !!python/name:os.system ''}"}, "asks for Python objects"),
        ({"head": "class: os.system\nname: x\n"}, "is for os.system, not for SossRatioStep"),
        ({"head": "class: evil.Step\nname: x\n"}, "is for evil.Step, not for SossRatioStep"),
        ({"head": "name: soss_ratio\n"}, "class, name, parameters or steps are missing"),
        ({"head": f"{_BOMB}\n{RATIO}"}, "aliases make"),
        ({"parameters": "&a {b: *a}"}, "holds itself"),
        ({"parameters": f"{{model: {'x' * 2**20}}}"}, "which no parameter file has"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, monkeypatch, given, said):
    """Whatever is wrong with the file, one sentence names it; nothing in it is run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('pwned', 'w').close()\n")
    path = write(tmp_path / "a.asdf", **given)
    with pytest.raises(SossInputError, match=said) as caught:
        SossRatioStep.call("no_x1d.fits", config_file=str(path))
    assert "\n" not in str(caught.value)
    assert "a.asdf" in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["a.asdf", "evil.py"]


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 50, b"[steps", "a = 1".encode("utf-16")])
def test_what_is_no_parameter_file(tmp_path, content):
    """An empty file, noise, and text of another kind are refused by name; so is none at all."""
    path = tmp_path / "a.asdf"
    path.write_bytes(content)
    with pytest.raises(SossInputError, match=r"a\.asdf") as caught:
        SossRatioStep.call("no_x1d.fits", config_file=str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(SossInputError, match=r"b\.asdf does not exist"):
        SossRatioStep.call("no_x1d.fits", config_file=str(tmp_path / "b.asdf"))


def test_the_file_of_a_single_step_is_looked_at_too(tmp_path):
    """A parameter file that a pipeline's parameters name for a step is held to the same."""
    path = write(tmp_path / "a.asdf", end="")
    steps = {"soss_ratio": {"config_file": str(path)}}
    with pytest.raises(SossInputError, match="is truncated"):
        SossPhotcalPipeline.build_config(None, steps=steps)
    with pytest.raises(SossInputError, match="is truncated"):
        SossPhotcalPipeline.merge_config({"steps": steps}, None)


def test_soss_photcal_run_says_it(tmp_path, monkeypatch, capsys, pipeline_without_crds):
    """``soss-photcal run --parameters`` ends with 1 and the sentence."""
    from soss_photcal_steps.run import work

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.asdf")
    task = work.Task(
        "prepare", "parameters", work.Settings("x", ".", "photom", config_file="a.asdf"),
        more=(None, []),
    )  # fmt: skip
    outcome = work.perform(task)
    assert (outcome.status, outcome.cause) == ("failed", "input")
    assert "is for soss_photcal_steps.ratio.ratio_step.SossRatioStep, not for" in outcome.reason
    assert main(["run", "asn.json", "--parameters=b.asdf"]) == 1
    assert "b.asdf does not exist" in capsys.readouterr().err


def test_strun_names_a_parameter_that_does_not_exist(tmp_path):
    """``strun FILE`` with an unknown parameter ends with 1 and a sentence, not a traceback."""
    path = write(tmp_path / "a.asdf", "{sigmo: 3}")
    done = subprocess.run(
        [STRUN, path, "no_x1d.fits"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "there is no parameter sigmo" in said
    assert "Traceback" not in said
    # The file itself is read by stpipe alone, before any of this package is loaded.
    write(path, end="").write_text(path.read_text()[:-5])
    done = subprocess.run(
        [STRUN, path, "no_x1d.fits"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert os.listdir(tmp_path) == ["a.asdf"]
