"""What the package is to those that only look at it: entry points, exports, import time."""

import importlib.metadata
import subprocess
import sys

import asdf
import pytest

import soss_photcal_steps
from soss_photcal_steps.integration import SCHEMA_URI_PREFIX, get_resource_mappings


@pytest.mark.parametrize(
    "what",
    [
        "import soss_photcal_steps; soss_photcal_steps.get_steps()",
        "from soss_photcal_steps import cli; cli._parser()",
    ],
)
def test_import_is_light(what):
    """Importing the package, as every strun does, or its command loads no heavy package."""
    code = f"import sys; {what}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "soss_photcal_steps" in loaded
    assert not {"jwst", "stpipe", "numpy", "scipy", "astropy", "asdf", "matplotlib"} & {*loaded}


def test_exports():
    """Every name that the package offers can be had, and others are refused."""
    for name in soss_photcal_steps.__all__:
        assert getattr(soss_photcal_steps, name) is not None
        assert name in dir(soss_photcal_steps)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        soss_photcal_steps.Nothing  # noqa: B018 (asking is the test)


def test_steps_are_registered():
    """Each step is found by its alias, and the class agrees with what is registered."""
    from jwst.stpipe import Pipeline
    from stpipe import utilities

    for name, alias, is_pipeline in soss_photcal_steps.get_steps():
        assert utilities.resolve_step_class_alias(alias) == name
        step = utilities.import_class(name)
        assert step.class_alias == alias
        assert issubclass(step, Pipeline) == is_pipeline


def test_schemas_are_registered():
    """Every schema of the package is found by the id that is written in it."""
    uris = [uri for mapping in get_resource_mappings() for uri in mapping]
    assert f"{SCHEMA_URI_PREFIX}record-1.0.0" in uris
    for uri in uris:
        assert asdf.schema.load_schema(uri)["id"] == uri


def test_version():
    """The version in the package is the one that is installed."""
    assert importlib.metadata.version("soss_photcal_steps") == soss_photcal_steps.__version__


def test_asdf_loads_the_same_extensions_with_either_parser():
    """With the fast parser asdf finds the extensions and tags that it finds by itself, in order."""
    code = (
        "import yaml, asdf; {}"
        "[print(e.extension_uri, e.class_name, sorted(str(t.tag_uri) for t in e.tags))"
        " for e in asdf.get_config().extensions]"
    )
    fast = (
        "import gc; from soss_photcal_steps import _jwst; before = yaml.safe_load; "
        "_jwst.load_asdf_extensions(); assert yaml.safe_load is before and gc.isenabled(); "
        "assert asdf.get_config()._extensions; "
    )
    plain, ours = (
        subprocess.run(
            [sys.executable, "-c", code.format(first)], capture_output=True, text=True, check=True
        ).stdout
        for first in ("", fast)
    )
    assert plain == ours
    assert len(plain.splitlines()) > 40
