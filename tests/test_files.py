"""What a file's name says."""

from pathlib import Path

import pytest

from soss_photcal_steps.files import is_association


@pytest.mark.parametrize("item", ["a_asn.json", "/b/C.JSON", Path("a.json")])
def test_a_path_of_json_is_an_association(item):
    """Text and paths that end in .json are associations, in capitals too."""
    assert is_association(item)


@pytest.mark.parametrize("item", ["a.fits", Path("json"), "a.json.gz", ["a.json"], None, 1])
def test_nothing_else_is_an_association(item):
    """Other paths, a list of associations, nothing and numbers are none."""
    assert not is_association(item)
