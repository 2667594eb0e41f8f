"""Products of two runs made comparable; not a test."""

import re

import asdf
import numpy as np
from astropy.io import fits

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d*")
SUM = re.compile(r"\b[0-9a-f]{64}\b")
# extract_1d writes into its log how long it took.
TOOK = re.compile(r"\b\d+\.\d+ sec\b")


def plain(value):
    """Make trees comparable: arrays by their bytes, times and checksums of inputs left out.

    The checksums are those of products of the run, which have times in them.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in ("time", "date")}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "dtype"):
        array = np.asarray(value)
        return array.dtype.str, array.shape, array.tobytes()
    if isinstance(value, str):
        return TOOK.sub("TOOK", SUM.sub("SUM", TIME.sub("TIME", value)))
    return value


def content(folder):
    """Give all products of a folder, but for times and what depends on them."""
    found = {}
    for path in sorted(folder.glob("*.asdf")):
        with asdf.open(path, memmap=False, lazy_load=False) as file:
            tree = {key: value for key, value in file.tree.items() if key != "asdf_library"}
            found[path.name] = plain(tree)
    for path in sorted(folder.glob("*.fits")):
        with fits.open(path) as hdus:
            for number, hdu in enumerate(hdus):
                cards = [
                    (card.keyword, plain(str(card.value)), card.comment)
                    for card in hdu.header.cards
                    if card.keyword not in ("DATE", "CHECKSUM", "DATASUM")
                ]
                data = None if hdu.name == "ASDF" or hdu.data is None else hdu.data.tobytes()
                found[path.name, number] = cards, data
    return found
