"""Exposures of a simulated sky, for the tests of the template builder."""

import pytest

from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.simulate.write import ExposureHeader, write_library, write_rateints


@pytest.fixture(scope="session")
def library():
    """Give a library of three templates."""
    return make_library(3, 3)


@pytest.fixture(scope="session")
def store(tmp_path_factory, library):
    """Give a folder with three dithered exposures of each of two skies."""
    folder = tmp_path_factory.mktemp("template")
    write_library(library, folder / "true.fits")
    for sky in range(2):
        for k in range(3):
            scene = simulate(
                SceneParams(seed=40 + 10 * sky + k, nints=2, star="none", template_index=sky),
                library,
            )
            header = ExposureHeader(
                target=f"SKY-{sky}", program=9000, observation=sky + 1, exposure=k + 1,
                ra=80.0 * (sky + 1), dec=-30.0 * sky, background_target=True,
            )  # fmt: skip
            name = f"jw0900000{sky + 1}001_02101_{k + 1:05d}_nis_rateints.fits"
            write_rateints(scene, folder / name, header)
    return folder


@pytest.fixture(scope="session")
def files(store):
    """Give the paths of the exposures."""
    return [str(path) for path in sorted(store.glob("*_rateints.fits"))]
