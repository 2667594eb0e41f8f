"""The record of what was done: header cards, metadata and HISTORY of a data model.

Everything here can be repeated: the second writing of a record replaces the first.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from soss_photcal_steps import _jwst
from soss_photcal_steps.files import Fingerprint

__all__ = [
    "META_NAME",
    "history_lines",
    "plain",
    "put_cards",
    "put_history",
    "put_meta",
]

#: Records lie in the ASDF metadata at ``meta.soss_photcal.<step>``.
META_NAME = "soss_photcal"
# A longer HISTORY line is broken by astropy and comes back as several.
_HISTORY_WIDTH = 72


def plain(value: Any) -> Any:
    """Turn a value into what ASDF can store without any extension.

    Parameters
    ----------
    value : object
        Mappings, sequences, paths, numpy scalars and arrays, and plain values, in any nesting.

    Returns
    -------
    object
        Dictionaries, lists, strings, numbers, booleans, None, and copies of arrays.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, PathLike):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


_PLACES: dict[tuple[type, str], str | None] = {}


def _schema_place(model: Any, key: str) -> str | None:
    """Where the model's schema keeps a keyword; searching it takes milliseconds, so only once."""
    where = (type(model), key)
    if where not in _PLACES:
        found = model.find_fits_keyword(key)
        _PLACES[where] = found[0] if found else None
    return _PLACES[where]


def put_cards(model: Any, cards: Iterable[Sequence[Any]]) -> None:
    """Write cards into the primary header of a data model; the model is edited.

    A keyword that the model's schema knows is set at its place in the metadata, where it
    survives ``extract_1d``.  Any other goes into ``extra_fits``, which survives saving and
    opening; a card that is there already is replaced where it stands.

    Parameters
    ----------
    model : JwstDataModel
        The model.
    cards : iterable of (key, value, comment)
        Keyword of up to 8 characters, value and comment.  FITS knows no value that is not
        finite: such a number becomes its name as text.  None removes the card.

    Raises
    ------
    ValueError
        If a keyword is not valid in FITS.
    """
    node = getattr(model, "extra_fits", None)
    extra = {} if node is None else dict(node.instance)
    primary = dict(extra.get("PRIMARY", {}))
    header = {card[0]: list(card) for card in primary.get("header", [])}
    for key, value, comment in cards:
        if not re.fullmatch(r"[A-Z0-9_-]{1,8}", key):
            raise ValueError(f"{key!r} is not a FITS keyword")
        value = _card_value(value)
        place = _schema_place(model, key)
        if place is not None:
            model[place] = value
        elif value is None:
            header.pop(key, None)
        else:
            header[key] = [key, value, comment]
    if header or primary:
        model.extra_fits = {**extra, "PRIMARY": {**primary, "header": list(header.values())}}


def _card_value(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def put_meta(model: Any, step: str, record: Mapping[str, Any]) -> None:
    """Write a step's record to ``meta.soss_photcal.<step>``; the model is edited.

    Parameters
    ----------
    model : JwstDataModel
        The model.
    step : str
        Name of the step; its earlier record is replaced, those of other steps are kept.
    record : mapping
        What is written, see `plain` for what it may hold.
    """
    # Past the model's own check of each value, which takes longer than all the rest: `plain`
    # leaves nothing that could fail it, and saving checks the whole.
    meta = model.meta.instance
    before = meta.get(META_NAME)
    kept = before if isinstance(before, Mapping) else {}
    meta[META_NAME] = {**kept, step: plain(record)}


def history_lines(title: str, inputs: Iterable[Fingerprint] = ()) -> list[str]:
    """Make the HISTORY lines of a step.

    Parameters
    ----------
    title : str
        What was done, by which version.
    inputs : iterable of Fingerprint, optional
        The files that went in.

    Returns
    -------
    list of str
        Lines that fit into one HISTORY card each.
    """
    texts = [title]
    for item in inputs:
        texts.append(f"input {item.name}, {item.size} bytes")
        if item.sha256:
            texts.append(f"{'sha256' if item.method == 'full' else 'sampled'} {item.sha256}")
    return [line for text in texts for line in textwrap.wrap(text, _HISTORY_WIDTH)]


def put_history(model: Any, lines: Sequence[str], replace: Sequence[str] = ()) -> None:
    """Append HISTORY lines to a data model; the model is edited.

    Parameters
    ----------
    model : JwstDataModel
        The model.
    lines : sequence of str
        The lines.  If the history has them already, one after the other, nothing is added.
    replace : sequence of str, optional
        Lines written before, which these replace.
    """
    _remove_run(_jwst.history_entries(model), replace)
    if _find_run(_jwst.history_entries(model), lines) is None:
        for line in lines:
            _jwst.add_history_entry(model, line)


def _find_run(entries: Sequence[Mapping[str, Any]], lines: Sequence[str]) -> int | None:
    """Find where lines stand one after the other in the history."""
    texts = [str(entry["description"]).rstrip() for entry in entries]
    for start in range(len(texts) - len(lines) + 1):
        if texts[start : start + len(lines)] == list(lines):
            return start
    return None


def _remove_run(entries: list[Any], lines: Sequence[str]) -> None:
    start = _find_run(entries, lines) if lines else None
    if start is not None:
        del entries[start : start + len(lines)]
