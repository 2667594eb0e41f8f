"""An exposure whose background is known, for the tests of the explorer."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from soss_photcal_steps.explore.load import load_exposure
from soss_photcal_steps.explore.state import ExplorerState
from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.simulate.write import ExposureHeader, write_library, write_rateints

NAME = "jw01512001001_03102_00001-seg001_nis_rateints.fits"


@pytest.fixture(scope="session")
def library():
    """Give a library of three templates."""
    return make_library(3, 3)


@pytest.fixture(scope="session")
def scene(library):
    """Give an exposure of a star like WASP-39 with zero orders of field stars."""
    return simulate(SceneParams(seed=5, nints=2, star="mid", template_index=1), library)


@pytest.fixture(scope="session")
def store(tmp_path_factory, library, scene):
    """Give a folder with the library and the exposure."""
    folder = tmp_path_factory.mktemp("explore")
    write_library(library, folder / "lib.fits")
    write_rateints(scene, folder / NAME)
    return folder


@pytest.fixture(scope="session")
def rateints(store):
    """Give the path of the exposure."""
    return store / NAME


@pytest.fixture(scope="session")
def segments(store, library):
    """Give the paths of two segments of one exposure, of one and two integrations."""
    scene = simulate(SceneParams(seed=6, nints=3, star="mid", template_index=2), library)
    paths = []
    for number, (first, last) in enumerate(((0, 1), (1, 3)), 1):
        path = store / f"jw01512002001_03102_00001-seg00{number}_nis_rateints.fits"
        header = ExposureHeader(observation=2)
        write_rateints(scene, path, header, first=first, last=last, segment=(number, 2))
        paths.append(str(path))
    return paths


@pytest.fixture(scope="session")
def exposure(store, rateints):
    """Give the exposure as the explorer reads it."""
    return load_exposure(rateints, override_bkg=str(store / "lib.fits"))


@pytest.fixture
def state(exposure):
    """Give a fresh state."""
    return ExplorerState(exposure)


class Served:
    """A running explorer, started as the user does.

    Attributes
    ----------
    url : str
        Address with the token.
    port, pid : int
        Port and process.
    output : pathlib.Path
        Where it saves.
    """

    def __init__(self, files, library, output):
        program = Path(sys.executable).with_name("soss-photcal")
        self.output = output
        self._process = subprocess.Popen(
            [program, "explore", *map(str, files), "--override_bkg", str(library), "--no-browser",
             "--output-dir", str(output)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self._process.pid
        line = self._process.stdout.readline()
        if "http" not in line:
            raise RuntimeError(self._process.stderr.read())
        self.url = line.split()[-1]
        self.port = int(self.url.split(":")[2].split("/")[0])

    def stop(self):
        """End it as Ctrl-C does.

        Returns
        -------
        status : int
            Exit status.
        error : str
            What it wrote to stderr.
        """
        self._process.send_signal(signal.SIGINT)
        _, error = self._process.communicate(timeout=20)
        return self._process.returncode, error


@pytest.fixture(scope="module")
def served(store, rateints, tmp_path_factory):
    """Start the explorer on a good and a damaged file, as a command of its own."""
    folder = tmp_path_factory.mktemp("served")
    broken = folder / "broken <b>_rateints.fits"
    broken.write_bytes(rateints.read_bytes()[:40_000])
    output = folder / "saved"
    output.mkdir()
    one = Served([rateints, broken], store / "lib.fits", output)
    yield one
    status, error = one.stop()
    assert status == 0
    assert "Traceback" not in error
