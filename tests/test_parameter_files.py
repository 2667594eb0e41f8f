"""The parameter files that are shipped, and the help of every alias, as a user asks for them."""

import subprocess
import sys
from pathlib import Path

import asdf
import pytest

from soss_photcal_steps.integration import get_steps

FILES = sorted((Path(__file__).parents[1] / "parameter_files").glob("*.asdf"))
STRUN = Path(sys.executable).with_name("strun")


def strun_help(what):
    """Ask ``strun`` for help."""
    return subprocess.run(
        [STRUN, str(what), "--help"], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("alias", [alias for _, alias, _ in get_steps()])
def test_every_alias_has_help(alias):
    """`strun ALIAS --help` lists the parameters of the step and exits with 0."""
    done = strun_help(alias)
    assert done.returncode == 0, done.stderr
    assert "--input_checksum" in done.stdout or "--steps." in done.stdout


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_parameter_file_is_taken(path):
    """`strun FILE --help` takes each file, whose values are those that its steps then have."""
    assert len(FILES) == 6
    done = strun_help(path)
    assert done.returncode == 0, done.stderr
    with asdf.open(path) as content:
        tree = content.tree
        for name in tree.get("parameters", {}):
            assert f"--{name}" in done.stdout
        for step in tree.get("steps", ()):
            for name in step.get("parameters", {}):
                assert f"--steps.{step['name']}.{name}" in done.stdout
