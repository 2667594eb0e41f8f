"""The judge of the run with damaged files."""

import dataclasses

import numpy as np
import pytest
from damaging.judge import changed_cards, judge
from damaging.mutations import Damage, find_hdus
from damaging.subjects import SUBJECTS

BY_NAME = {subject.name: subject for subject in SUBJECTS}


def overwritten(content, start, new):
    """Write bytes over others."""
    damaged = content[:start] + new + content[start + len(new) :]
    return Damage("noise", "bytes", damaged, same_layout=True)


@pytest.fixture
def spectra(corpus):
    """Give a file of spectra, its extensions, and a result for it."""
    content = (corpus / "jw_old_x1dints.fits").read_bytes()
    result = {}
    x = np.linspace(0.6, 2.8, 100)
    for order in (1, 2, 3):
        keys = ("observed", "observed_error", "ratio", "ratio_error", "fit", "model")
        result |= {f"{order}.{key}": np.full(100, 0.01 if "error" in key else 1.0) for key in keys}
        result |= {f"{order}.wavelength": x / order, f"{order}.mask": np.zeros(100, np.uint32)}
    return content, find_hdus(content), result


def test_only_what_cards_say_counts(spectra):
    """Zeros behind END and another comment change no card; another value or keyword does."""
    content, hdus, _ = spectra
    header = hdus[3].header
    end = content.index(b"END".ljust(80), header)
    comment = content.index(b"/ length of dimension 1", header) + 3
    value = content.index(b"'MJy     '", header) + 1
    for start, new, cards in (
        (end + 100, bytes(200), set()),
        (comment, b"x", set()),
        (value, b"x", {"TUNIT2"}),
        (value - 11, b"x", {"TUNIT2", "xUNIT2"}),
        (end, b" " * 3, set()),
    ):
        assert changed_cards(content, overwritten(content, start, new), hdus) == cards


def test_other_wavelengths_must_be_right(spectra):
    """Zeros over numbers of order 3 excuse order 3 at their wavelengths, and nothing else."""
    content, hdus, before = spectra
    # From behind END over the numbers of some wavelengths.
    damage = overwritten(content, hdus[6].data - 50, bytes(50 + 36 * 100))

    def verdict(**changes):
        after = {key: array.copy() for key, array in before.items()}
        for key, (i, value) in changes.items():
            after[key.replace("_", ".", 1)][i] = value
        return judge(
            BY_NAME["x1dints before jwst 1.20"], damage, content, hdus, before, after, []
        ).kind

    assert verdict(**{"3_fit": (0, 1.001)}) == "value"
    for key in ("1_observed", "2_ratio", "3_observed", "3_model", "3_wavelength"):
        assert verdict(**{key: (0, 0.999)}) == "other"
    assert verdict(**{"1_fit": (5, 1.2)}) == "other"


def test_nothing_else_in_the_place_of_an_array(corpus):
    """A tree may name another array that fits, but no number, text or array of another length."""
    content = (corpus / "all_sosscorr.asdf").read_bytes()
    damage = dataclasses.replace(overwritten(content, 300, b"x"), same_layout=False)
    before = {"1.correction": np.ones(10)}
    for value, kind in (
        (np.zeros(10), "value"),
        (np.zeros(9), "other"),
        (np.array(1 + 1j), "other"),
        (np.zeros(10, complex), "other"),
        (None, "other"),
    ):
        found = judge(
            BY_NAME["correction product"], damage, content, [], before, {"1.correction": value}, []
        )
        assert found.kind == kind
