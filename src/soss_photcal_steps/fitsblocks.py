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
_PRINTABLE = re.compile(rb"[ -~]{8}")
_KEYWORD = re.compile(rb"[A-Z0-9_-]{0,8} *(?:[= ]|$)")
_KEYS = re.compile(
    rb"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTNAME|DATASUM"
    rb"|TFIELDS|TFORM\d+|BSCALE|BZERO|TSCAL\d+|TZERO\d+) *="
)
_NUMBER = re.compile(rb"[A-Z0-9]{1,8} *= *([^ /]+) *(?:/.*)?")
_FORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])", re.IGNORECASE)
# Bytes of a number of each format of a column; X is bits.
_WIDTHS = dict(L=1, B=1, A=1, I=2, J=4, K=8, E=4, D=8, C=8, M=16, P=8, Q=16)
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
        label = f"the header of extension {len(parts)}" if parts else "the primary header"
        cards, start = _cards(stream, first, place, label)
        end = start + -(-_data_size(cards, label) // BLOCK) * BLOCK
        if end > size:
            raise CutOffError
        _check_columns(cards, label)
        _check_scales(cards, label)
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


def _cards(
    stream: BinaryIO, block: bytes, place: int, label: str
) -> tuple[dict[bytes, bytes], int]:
    """Read a header up to its END; give its cards that matter and the byte after it."""
    cards: dict[bytes, bytes] = {}
    readable = text = True
    while len(block) == BLOCK:
        place += BLOCK
        zeros = b"\0" in block
        for card in _split(block):
            if card.rstrip(b" \0") == b"END":
                # Behind it, some programs fill up with zeros.
                if not text:
                    raise ValueError(f"{label} holds bytes that are no text where cards belong")
                return cards, place
            is_card = _KEYWORD.match(card) is not None
            readable &= is_card
            text &= is_card or _PRINTABLE.match(card) is not None
            text &= not (zeros and b"\0" in card)
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


def _integer(cards: dict[bytes, bytes], label: str, key: str, default: int | None = None) -> int:
    """Give the value of a card that must be an integer."""
    card = cards.get(key.encode())
    if card is None and default is not None:
        return default
    match = _INTEGER.fullmatch(card or b"")
    if match is None:
        raise ValueError(f"{label} does not say {key}")
    return int(match[1])


def _check_columns(cards: dict[bytes, bytes], label: str) -> None:
    """Make sure that the columns of a binary table fill its rows: none is lost."""
    if _text(cards, b"XTENSION") != "BINTABLE":
        return
    count, width = _integer(cards, label, "TFIELDS"), _integer(cards, label, "NAXIS1")
    if not 0 <= count <= 999:
        raise ValueError(f"{label} has TFIELDS {count}")
    total = 0
    for i in range(1, count + 1):
        match = _FORM.match(_text(cards, b"TFORM%d" % i))
        if match is None:
            raise ValueError(
                f"{label} says of which type {i - 1} columns are, but not column {i} of "
                f"{count} (TFORM{i}), so that cards must be lost or damaged"
            )
        repeat, kind = int(match[1] or 1), match[2].upper()
        total += -(-repeat // 8) if kind == "X" else repeat * _WIDTHS[kind]
    if total != width:
        raise ValueError(
            f"{label} has columns of {total} bytes in rows of {width}; TFORM or NAXIS1 is wrong"
        )


def _check_scales(cards: dict[bytes, bytes], label: str) -> None:
    """Refuse a scale that makes all numbers one, or none."""
    for key, card in cards.items():
        if not key.startswith((b"BSCALE", b"BZERO", b"TSCAL", b"TZERO")):
            continue
        match = _NUMBER.fullmatch(card)
        try:
            value = float(match[1].upper().replace(b"D", b"E")) if match else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (value == 0 and b"SCAL" in key):
            raise ValueError(f"{key.decode()} in {label} is no number that data can be scaled by")


def _data_size(cards: dict[bytes, bytes], label: str) -> int:
    """Give the size of the data in bytes, without padding."""
    bitpix, n_axes = _integer(cards, label, "BITPIX"), _integer(cards, label, "NAXIS")
    if bitpix not in _BITPIX or not 0 <= n_axes <= 999:
        raise ValueError(f"{label} has BITPIX {bitpix} and NAXIS {n_axes}")
    axes = [_integer(cards, label, f"NAXIS{i}") for i in range(1, n_axes + 1)]
    extra = _integer(cards, label, "PCOUNT", 0)
    groups = _integer(cards, label, "GCOUNT", 1)
    if min(axes, default=0) < 0 or extra < 0 or groups < 0:
        raise ValueError(f"{label} says a negative size")
    if not axes:
        return 0
    if axes[0] == 0 and b"GROUPS" in cards:
        axes = axes[1:]
    return abs(bitpix) // 8 * groups * (extra + math.prod(axes))
