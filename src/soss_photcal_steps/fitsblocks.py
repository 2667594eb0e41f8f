"""The blocks of a FITS file, read without astropy, which trusts what a damaged header says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

__all__ = ["BLOCK", "CutOffError", "Part", "datasum", "scan_fits"]

#: Bytes of a block of FITS; header and data begin and end with one.
BLOCK = 2880
_CARD = 80
_INTEGER = re.compile(rb"[A-Z0-9]{1,8} *= +([+-]?\d{1,18}) *(?:/.*)?")
_TEXT = re.compile(rb"[A-Z0-9]{1,8} *= *'([^']*)'.*")
_BITPIX = (8, 16, 32, 64, -32, -64)
_SIMPLE = re.compile(rb"SIMPLE  = +T *(?:/|$| {3})")
_KEYWORD = re.compile(rb"[A-Z0-9_-]{0,8} *(?:[= ]|$)")
_KEYS = re.compile(rb"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTNAME|DATASUM) *=")
# A tape had records of ten blocks, the last of them filled up with zeros.
_LONGEST_FILLING = 10 * BLOCK


class CutOffError(ValueError):
    """The file ends before its headers say."""


@dataclass(frozen=True)
class Part:
    """Where an HDU lies, and what its header says of its data.

    Attributes
    ----------
    name : str
        EXTNAME; "PRIMARY" for the first without one.
    header_start, data_start, end : int
        First byte of header and data, and the byte after the data and their padding.
    datasum : str
        DATASUM, empty if there is none.
    """

    name: str
    header_start: int
    data_start: int
    end: int
    datasum: str


def scan_fits(stream: BinaryIO, size: int) -> list[Part]:
    """Find all HDUs of a file, and make sure that they fill it.

    Parameters
    ----------
    stream : file
        The file.
    size : int
        Its size, bytes.

    Returns
    -------
    list of Part
        The HDUs in the order of the file.

    Raises
    ------
    CutOffError
        If the file ends too early.
    ValueError
        If it is not FITS, or a header says what cannot be.
    """
    parts: list[Part] = []
    place = 0
    while place < size or not parts:
        stream.seek(place)
        first = stream.read(BLOCK)
        if not parts and not _SIMPLE.match(first):
            raise ValueError("it does not begin with SIMPLE = T")
        if parts and not first.startswith(b"XTENSION"):
            if b"XTENSION".startswith(first[:8]):
                raise CutOffError
            left = size - place
            if first.strip(b"\0") or left % BLOCK or left > _LONGEST_FILLING:
                raise ValueError(
                    f"something else follows its extension {len(parts) - 1} at byte {place}, so "
                    "that the size in that header must be wrong, or the next header is damaged"
                )
            break
        cards, start = _cards(stream, first, place)
        label = f"the header of extension {len(parts)}" if parts else "the primary header"
        end = start + -(-_data_size(cards, label) // BLOCK) * BLOCK
        if end > size:
            raise CutOffError
        name = _text(cards, b"EXTNAME") or ("" if parts else "PRIMARY")
        parts.append(Part(name, place, start, end, _text(cards, b"DATASUM")))
        place = end
    return parts


def datasum(stream: BinaryIO, part: Part) -> str:
    """Give the sum of the data of an HDU as the FITS standard has it.

    Parameters
    ----------
    stream : file
        The file.
    part : Part
        The HDU.

    Returns
    -------
    str
        What DATASUM should be.
    """
    stream.seek(part.data_start)
    left, total = part.end - part.data_start, 0
    while left:
        # Whole blocks, so whole words.
        content = stream.read(min(left, 1024 * BLOCK))
        total += int(np.frombuffer(content, ">u4").sum(dtype=np.uint64))
        left -= len(content)
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return str(total)


def _cards(stream: BinaryIO, block: bytes, place: int) -> tuple[dict[bytes, bytes], int]:
    """Read a header up to its END; give its cards that matter and the byte after it."""
    cards: dict[bytes, bytes] = {}
    readable = True
    while len(block) == BLOCK:
        place += BLOCK
        readable &= all(_KEYWORD.match(card) for card in _split(block))
        for card in _split(block):
            if card.rstrip(b" \0") == b"END":
                return cards, place
            match = _KEYS.match(card)
            if match:
                # As astropy does, the first of several counts.
                cards.setdefault(match[1], card)
        block = stream.read(BLOCK)
    if not readable:
        raise ValueError("a header without END holds what are no cards")
    raise CutOffError


def _split(block: bytes) -> Iterator[bytes]:
    for i in range(0, BLOCK, _CARD):
        yield block[i : i + _CARD]


def _text(cards: dict[bytes, bytes], key: bytes) -> str:
    match = _TEXT.fullmatch(cards.get(key, b""))
    return match[1].decode("latin1").strip() if match else ""


def _data_size(cards: dict[bytes, bytes], label: str) -> int:
    """Give the size of the data in bytes, without padding."""

    def number(key: str, default: int | None = None) -> int:
        card = cards.get(key.encode())
        if card is None and default is not None:
            return default
        match = _INTEGER.fullmatch(card or b"")
        if match is None:
            raise ValueError(f"{label} does not say {key}")
        return int(match[1])

    bitpix, n_axes = number("BITPIX"), number("NAXIS")
    if bitpix not in _BITPIX or not 0 <= n_axes <= 999:
        raise ValueError(f"{label} has BITPIX {bitpix} and NAXIS {n_axes}")
    axes = [number(f"NAXIS{i}") for i in range(1, n_axes + 1)]
    extra, groups = number("PCOUNT", 0), number("GCOUNT", 1)
    if min(axes, default=0) < 0 or extra < 0 or groups < 0:
        raise ValueError(f"{label} says a negative size")
    if not axes:
        return 0
    if axes[0] == 0 and b"GROUPS" in cards:
        axes = axes[1:]
    return abs(bitpix) // 8 * groups * (extra + math.prod(axes))
