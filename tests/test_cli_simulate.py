"""The command ``soss-photcal simulate``."""

import os
import subprocess
import sys

import pytest

from soss_photcal_steps.cli import main

_ASK = """
from jwst.stpipe import Step
from stdatamodels.jwst import datamodels
import sys
with datamodels.open(sys.argv[1]) as model:
    for kind in ("photom", "bkg", "specwcs", "pastasoss", "specprofile", "speckernel", "flat"):
        print(kind, Step().get_reference_file(model, kind))
"""


def test_output_sets_the_environment_and_crds_serves_the_references(tmp_path):
    """After eval of what is printed, jwst finds all seven references with no network."""
    script = (
        f'eval "$({sys.executable} -m soss_photcal_steps.cli simulate "$1" --small --seed 7)" '
        f'&& echo "$CRDS_CONTEXT" && {sys.executable} -c "$2" '
        '"$1/jw01512001001_03102_00001_nis_rateints.fits"'
    )
    folder = tmp_path / "a folder"
    result = subprocess.run(
        ["sh", "-c", script, "sh", str(folder), _ASK],
        capture_output=True, text=True, timeout=300, env=dict(os.environ), check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "jwst_9001.pmap"
    found = dict(line.split(" ", 1) for line in lines if line.split(" ")[0] in (
        "photom", "bkg", "specwcs", "pastasoss", "specprofile", "speckernel", "flat"))  # fmt: skip
    assert len(found) == 7
    assert all(path.startswith(str(folder / "crds_cache")) for path in found.values())
    assert "wrote" in result.stderr and "strun soss_spec2" in result.stderr


def test_folder_that_is_not_empty_is_refused(tmp_path, capsys):
    """One sentence on the standard error, nothing on the standard output, nothing touched."""
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["simulate", str(tmp_path), "--small"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "is not empty" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "-1"], "from 0, not -1"),
        (["--max-nints", "0"], "at least one integration"),
        (["--calspec", "p330e"], "needs STAR=FILE"),
        (["--calspec", "vega=a.fits"], "no standard 'vega'"),
        (["--calspec", "p330e=/none/a.fits"], "/none/a.fits does not exist"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, capsys, options, message):
    """A wrong option is refused with one sentence before a folder is made."""
    assert main(["simulate", str(tmp_path / "new"), *options]) == 1
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert not (tmp_path / "new").exists()


def test_kinds_are_those_of_the_campaigns(capsys):
    """The help names each kind that there is, and an unknown one is refused."""
    from soss_photcal_steps.simulate.campaign import CAMPAIGN_KINDS

    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    text = capsys.readouterr().out
    assert all(kind in text for kind in CAMPAIGN_KINDS)
    with pytest.raises(SystemExit):
        main(["simulate", "x", "--kind", "huge"])
    assert "huge" in capsys.readouterr().err
