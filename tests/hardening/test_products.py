"""Trees of products that hold something of another kind."""

import copy
import re

import asdf
import numpy as np
import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.models import SossPhotomCorrectionModel, SossRatioModel, open_product

KINDS = {
    "one_sossratio.asdf": SossRatioModel,
    "all_sosscorr.asdf": SossPhotomCorrectionModel,
}
NOT_OURS = ("meta", "history", "asdf_library")


def leaves(node, place=()):
    """Give the place of each number, text and array; of lists only in the first entry."""
    if isinstance(node, dict):
        for key, one in node.items():
            if place or key not in NOT_OURS:
                yield from leaves(one, (*place, key))
    elif isinstance(node, list):
        for one in node[:1]:
            yield from leaves(one, (*place, 0))
    else:
        yield place


def get(node, place):
    """Give what is at a place of a tree."""
    for key in place:
        node = node[key]
    return node


@pytest.fixture(scope="module", params=KINDS)
def product(request, corpus, tmp_path_factory):
    """Give the tree of a good product, and a function that opens one in which a place differs."""
    name = request.param
    with asdf.open(corpus / name, memmap=False, lazy_load=False) as content:
        tree = copy.deepcopy(dict(content.tree))
    path = tmp_path_factory.mktemp("products") / name

    def open_changed(place, value):
        node = get(tree, place[:-1])
        good = node[place[-1]]
        node[place[-1]] = value
        try:
            asdf.AsdfFile(tree).write_to(path)
        finally:
            node[place[-1]] = good
        open_product(path, KINDS[name]).close()

    return tree, open_changed


def test_a_mapping_in_any_field(product):
    """A mapping in the place of a number, a text or an array is refused in every field."""
    tree, open_changed = product
    places = list(leaves(tree))
    assert len(places) > 50
    for place in places:
        with pytest.raises(SossInputError, match=re.escape("/".join(map(str, place)))) as caught:
            open_changed(place, {"a": 1})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [1 + 1j, np.zeros(3)], ids=["complex", "array"])
def test_what_is_stored_like_text_or_like_a_mapping(product, value):
    """A complex number is no text, and an array no mapping."""
    tree, open_changed = product
    words = [place for place in leaves(tree) if isinstance(get(tree, place), str)]
    groups = [("observation",), ("orders", 0, "fit_description")]
    if "photom" in tree:
        groups = [("photom",), ("orders", 0, "curves")]
    assert len(words) > 8
    for place in [*words[:8], *groups]:
        with pytest.raises(SossInputError, match="/".join(map(str, place))):
            open_changed(place, value)


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("orders", 0, "wavelength"), np.array([b"a", b"b"]), "not compatible with 'float64'"),
        (("orders", 0, "wavelength"), np.zeros((2, 2)), "Expected 1, got 2"),
        (("orders", 0, "wavelength"), np.arange(5.0), r"but .* need \(5,\)"),
        (("orders", 0, "order"), 2, "each must come once"),
    ],
)
def test_arrays_that_do_not_go_together(product, place, value, sentence):
    """An array of another type, shape or length, and an order that comes twice, are refused."""
    _, open_changed = product
    with pytest.raises(SossInputError, match=sentence):
        open_changed(place, value)


@pytest.mark.parametrize("tag", [b"!core/ndarrbx-1.1.0", b"!cmre/ndarray-1.1.0"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore::asdf.exceptions.AsdfConversionWarning")
def test_an_array_with_a_damaged_tag(corpus, tmp_path, name, tag):
    """One wrong letter in the tag of any array is enough for the product to be refused."""
    content = (corpus / name).read_bytes()
    places = [match.start() for match in re.finditer(rb"!core/ndarray-1\.1\.0", content)]
    assert len(places) > 30
    path = tmp_path / name
    for place in places[::9]:
        path.write_bytes(content[:place] + tag + content[place + len(tag) :])
        with pytest.raises(
            SossInputError, match=f"{name} cannot be read as a {KINDS[name].__name__}"
        ):
            open_product(path, KINDS[name])
