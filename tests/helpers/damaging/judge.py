"""Tell a right result, a refusal and a change that nobody could see from a wrong result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from astropy.io import fits

from damaging.mutations import CARD, Damage, Hdu
from damaging.subjects import Result, Subject

__all__ = ["CLASSES", "Verdict", "changed_cards", "judge"]

#: Classes of what may become of a damaged file.
CLASSES = ("same", "told", "value", "refused", "other")

# Keywords, without their numbers, whose value says what the numbers of a spectrum are.
_MEANING = frozenset(
    {"TTYPE", "TFORM", "TUNIT", "TZERO", "TSCAL", "TNULL", "SPORDER", "INT_NUM", "EXTNAME",
     "EXTVER", "BZERO", "BSCALE", "BITPIX", "NAXIS", "PROGRAM", "OBSERVTN"}
)  # fmt: skip

# A keyword and its value, before the comment.
_VALUE = re.compile(r"[A-Z0-9_-]{1,8} *= *(?:'(?:[^']|'')*'|[^/]*)")


@dataclass(frozen=True)
class Verdict:
    """What became of a damaged file.

    Attributes
    ----------
    kind : str
        One of `CLASSES`: the result is that of the good file; it differs and the user is told,
        by a warning, a flag or a NaN; it is what a good file with the changed value would give,
        and no reader could know; the file is refused in one sentence; anything else.
    why : str
        In words.
    """

    kind: str
    why: str


# What the log says of what is missing.
_LOSSES = ("in none of the files", "no ASDF extension at its end", " has only ")


def changed_cards(good: bytes, damage: Damage, hdus: list[Hdu]) -> frozenset[str]:
    """List the keywords whose cards say something else, the old and the new one."""
    cards = set(damage.cards)
    if damage.same_layout and hdus:
        for hdu in hdus:
            pairs = zip(
                _statements(good[hdu.header : hdu.data]),
                _statements(damage.content[hdu.header : hdu.data]),
                strict=True,
            )
            cards |= {card[:8].rstrip() for pair in pairs if pair[0] != pair[1] for card in pair}
    # A card without a keyword says nothing.
    return frozenset(cards - {""})


def _statements(header: bytes) -> list[str]:
    """Give the cards of a header without comments, nothing for what follows its END."""
    cards = [header[i : i + CARD].decode("latin1") for i in range(0, len(header), CARD)]
    found: list[str] = []
    for card in cards:
        if card.rstrip(" \0") == "END":
            break
        match = _VALUE.match(card)
        found.append(match[0].rstrip() if match else card.rstrip())
    return found + [""] * (len(cards) - len(found))


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        one, two = np.asarray(one), np.asarray(two)
        floats = one.dtype.kind == "f" and two.dtype.kind == "f"
        return one.shape == two.shape and np.array_equal(one, two, equal_nan=floats)
    return bool(one == two) or (one != one and two != two)


def _differing(before: Result, after: Result) -> list[str]:
    keys = dict.fromkeys((*before, *after))
    return [
        k for k in keys if not _equal(before.get(k), after.get(k)) or (k in before) != (k in after)
    ]


def judge(
    subject: Subject,
    damage: Damage,
    good: bytes,
    hdus: list[Hdu],
    before: Result,
    after: Result,
    new_warnings: list[str],
) -> Verdict:
    """Judge a result that a damaged file gave.

    Parameters
    ----------
    subject : Subject
        The reader.
    damage : Damage
        What was done.
    good : bytes
        The good file.
    hdus : list of Hdu
        Its extensions, if it is FITS.
    before, after : dict
        Results of the good and the damaged file.
    new_warnings : list of str
        What the log warned of that it did not with the good file.

    Returns
    -------
    Verdict
        The class, and why.
    """
    keys = _differing(before, after)
    if not keys:
        return Verdict("same", "")
    cards = changed_cards(good, damage, hdus)
    explain = _EXPLAIN.get(subject.name, _explain_leaves)
    why = explain(subject, damage, good, hdus, before, after, keys, cards)
    lost = [line for line in new_warnings if any(words in line for words in _LOSSES)]
    if why is None and lost and damage.kind in ("truncate", "delete"):
        # Cut between two extensions, a file is whole, but for what its header says of them.
        return Verdict("told", lost[0])
    if why == "same":
        return Verdict("same", "within the tolerance")
    if new_warnings and why is not None:
        return Verdict("told", new_warnings[0])
    if why is None:
        return Verdict("other", f"differs in {keys[:6]}, cards {sorted(cards)}, {new_warnings[:1]}")
    kind, _, text = why.partition(":")
    return Verdict(kind, text.strip())


def _sci(content: bytes, hdu: Hdu, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    with np.errstate(invalid="ignore"):
        return np.frombuffer(content, ">f4", count, hdu.data).reshape(shape).astype(float)


def _explain_rates(subject, damage, good, hdus, before, after, keys, cards):
    """Every pixel must be that of the damaged file less the same background."""
    old, new = before["sci"].astype(float), after["sci"].astype(float)
    if old.shape != new.shape or before["status"] != after["status"]:
        return None
    raw = _sci(good, hdus[1], old.shape)
    stored = damage.same_layout and not cards & {"BZERO", "BSCALE", "BITPIX"}
    damaged = _sci(damage.content, hdus[1], old.shape) if stored else _find(damage, raw)
    if damaged is None:
        return None
    with np.errstate(all="ignore"):
        background = raw - old
        expected = damaged - background
        finite = np.isfinite(expected) & np.isfinite(new)
        # A pixel that is not finite is that in both; without a value in the good file, its
        # background is not known.
        at_the_limit = np.isfinite(damaged) & (np.abs(damaged) > 1e38)
        if ((np.isfinite(damaged) != np.isfinite(new)) & ~at_the_limit).any():
            return None
        off = np.abs(new - expected) > 0.01 * np.abs(background) + 2e-7 * np.abs(expected)
    if (off & finite).any():
        return None
    changed = (damaged != raw) & ~(np.isnan(damaged) & np.isnan(raw))
    if not changed.any():
        return "same"
    if not np.isfinite(damaged[changed]).any():
        return "told: NaN or infinity in the product"
    return f"value: {changed.sum()} pixels of SCI, the others are right"


def _find(damage: Damage, like: np.ndarray) -> np.ndarray | None:
    """Read SCI of a file whose parts have moved."""
    try:
        with fits.open(BytesIO(damage.content)) as hdus:
            found = np.array(hdus["SCI"].data, float)
    except Exception:  # noqa: BLE001 (whatever astropy stumbles over, there is no reference)
        return None
    return found if found.shape == like.shape else None


def _explain_library(subject, damage, good, hdus, before, after, keys, cards):
    """Only rows with changed pixels may differ: a gap is filled from its row."""
    if keys == ["names"]:
        return "value: a template's name" if "HISTORY" in cards else None
    old, new = before["images"], after["images"]
    if old.shape != new.shape or not damage.same_layout:
        return None
    one, two = (_sci(content, hdus[1], old.shape) for content in (good, damage.content))
    changed = (one != two) & ~(np.isnan(one) & np.isnan(two))
    if not np.isfinite(new).all():
        return None
    if ((old != new) & ~changed.any(axis=2)[..., None]).any():
        return None
    if (np.abs(new) > 40 * np.median(old))[old > 0].any():
        return None
    filled = after["filled"] - before["filled"]
    if filled >= changed.sum() - 8 and filled:
        return f"told: {filled} pixels filled from their row"
    return f"value: {changed.sum()} template pixels, the others are right"


def _explain_ratio(subject, damage, good, hdus, before, after, keys, cards):
    """Only the wavelengths of changed elements may differ, and the curve by less than 1 %."""
    if damage.same_layout and not cards:
        touched = _touched_wavelengths(good, damage.content)
        for order in (1, 2, 3):
            if f"{order}.ratio" not in after:
                return None
            old, new = before[f"{order}.wavelength"], after[f"{order}.wavelength"]
            spots = touched.get(order, np.zeros(0))
            near = np.abs(old[:, None] - spots[None]).min(axis=1, initial=np.inf) < 1e-9
            if old.shape != new.shape or not np.array_equal(old[~near], new[~near]):
                return None
            # The model is averaged over bins, whose edges lie between neighbours.
            near[1:] |= near[:-1].copy()
            near[:-1] |= near[1:].copy()
            for key, tolerance in (("observed", 1e-9), ("model", 1e-9), ("ratio", 1e-9)):
                one, two = before[f"{order}.{key}"][~near], after[f"{order}.{key}"][~near]
                if not np.allclose(one, two, rtol=tolerance, atol=0, equal_nan=True):
                    return None
            good_points = (before[f"{order}.mask"] == 0) & (after[f"{order}.mask"] == 0)
            if (
                before[f"{order}.mask"] == 0
            ).sum() - good_points.sum() > 0.1 * old.size + near.sum():
                return None
            fit, other = before[f"{order}.fit"][good_points], after[f"{order}.fit"][good_points]
            limit = np.maximum(
                0.01, 5 * (before[f"{order}.ratio_error"] / before[f"{order}.ratio"])[good_points]
            )
            if not (np.abs(other / fit - 1) < limit).all():
                return None
        return "value: in the changed wavelengths, the others are right"
    if all(key in ("observation", "star") for key in keys):
        return f"value: header, {', '.join(sorted(cards))}"
    meaning = [c for c in cards if c.rstrip("0123456789") in _MEANING]
    return f"value: header, {', '.join(meaning)}" if meaning else None


def _touched_wavelengths(good: bytes, damaged: bytes) -> dict[int, np.ndarray]:
    """Give the wavelengths by order at which a number of any integration differs."""
    touched: dict[int, list[float]] = {}
    with fits.open(BytesIO(good)) as hdus:
        for hdu in hdus:
            if hdu.name != "EXTRACT1D":
                continue
            dtype = hdu.columns.dtype.newbyteorder(">")
            start, rows = hdu.fileinfo()["datLoc"], hdu.header["NAXIS2"]
            one = np.frombuffer(good, dtype, rows, start)
            two = np.frombuffer(damaged, dtype, rows, start)
            vectors = one["WAVELENGTH"].ndim == 2
            wavelength = one["WAVELENGTH"][0] if vectors else one["WAVELENGTH"]
            spots = touched.setdefault(hdu.header["SPORDER"], [])
            for name in dtype.names:
                a, b = (np.ascontiguousarray(x[name]) for x in (one, two))
                differs = (a.view("u1") != b.view("u1")).reshape(*a.shape, -1).any(axis=-1)
                if vectors and differs.ndim == 1:
                    # A number of a whole integration.
                    if differs.any() and name in ("INT_NUM", "N_ALONGDISP"):
                        spots.extend(wavelength)
                    continue
                at = differs.any(axis=0) if vectors else differs
                spots.extend(wavelength[at])
    return {order: np.unique(spots) for order, spots in touched.items()}


def _explain_star(subject, damage, good, hdus, before, after, keys, cards):
    """Only points near changed rows may differ."""
    meaning = [c for c in cards if c.rstrip("0123456789") in _MEANING]
    if meaning and not subject.target.endswith(".gz"):
        return f"value: header, {', '.join(meaning)}"
    if not damage.same_layout:
        return None
    start = hdus[1].data
    count = sum(good[i : i + 8] != damage.content[i : i + 8] for i in range(start, hdus[1].end, 8))
    rows = {(i - start) // 16 for i in range(start, hdus[1].end) if good[i] != damage.content[i]}
    x = before["wavelength"]
    if len(after["wavelength"]) < len(x) - len(rows) or not count:
        return None
    far = np.ones(len(x), bool)
    for row in rows:
        far[max(row - 1, 0) : row + 2] = False
    one = before["flux"][far]
    two = np.interp(x[far], after["wavelength"], after["flux"])
    same = np.isclose(one, two, rtol=1e-6)
    # A row whose wavelength was moved elsewhere sits between two others there.
    if (~same).sum() > 2 * len(rows):
        return None
    return f"value: {len(rows)} rows of the model, the others are right"


def _explain_photom(subject, damage, good, hdus, before, after, keys, cards):
    """Only rows with changed bytes may differ, in the old file and the new one."""
    told = [k for k in after["findings"] if k not in before["findings"]]
    rows = {key.partition("]")[0] for key in keys if key.startswith((".old", ".new"))}
    numbers = {row[-1] for row in rows}
    meaning = [c for c in cards if c.rstrip("0123456789") in _MEANING]
    if damage.same_layout and not meaning:
        start = hdus[1].data
        size = (hdus[1].end - start) // 2880 * 2880
        width = _row_width(good, hdus[1])
        touched = {
            str(i // width) for i in range(size) if good[start + i] != damage.content[start + i]
        }
        if not numbers <= touched:
            return None
    if told:
        return f"told: {told[0]}"
    if not rows:
        return "told: by the check, of the good file too"
    if cards and not meaning and not damage.same_layout:
        return None
    return f"value: row {', '.join(sorted(numbers))} {' '.join(meaning)}"


def _row_width(good: bytes, hdu: Hdu) -> int:
    header = good[hdu.header : hdu.data].decode("latin1")
    return int(header[header.index("NAXIS1  =") + 9 :][:21])


def _explain_leaves(subject, damage, good, hdus, before, after, keys, cards):
    """Let a text say something else, but not arrays, which have a checksum."""
    arrays = [k for k in keys if isinstance(before.get(k, after.get(k)), np.ndarray)]
    if arrays and not _text_differs(good, damage):
        return None
    # A tree may name another array that fits, but nothing else in the place of one.
    if subject.target.endswith(".asdf") and any(
        before.get(k) is None
        or np.shape(before[k]) != np.shape(after.get(k))
        or np.asarray(before[k]).dtype.kind != np.asarray(after[k]).dtype.kind
        for k in arrays
    ):
        return None
    return f"value: {len(keys)} entries of another text" + (", arrays too" if arrays else "")


def _text_differs(good: bytes, damage: Damage) -> bool:
    """Tell whether the tree of an ASDF file, or a whole file of text, was changed."""
    end = good.find(b"\n...\n")
    return end < 0 or good[:end] != damage.content[:end]


_EXPLAIN: Mapping[str, Any] = {
    "rate, as a model": _explain_rates,
    "rateints, streamed": _explain_rates,
    "bkg reference": _explain_library,
    "x1dints": _explain_ratio,
    "x1dints, DATASUM": _explain_ratio,
    "x1dints before jwst 1.20": _explain_ratio,
    "CALSPEC": _explain_star,
    "CALSPEC, DATASUM": _explain_star,
    "photom file": _explain_photom,
}
