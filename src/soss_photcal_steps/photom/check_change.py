"""Checks of the shape of a response, and of a photom file against the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from soss_photcal_steps.photom.findings import Finding, error, note, warning
from soss_photcal_steps.photom.scale import nearest_factor
from soss_photcal_steps.photom.table import PhotomRow

__all__ = ["JUMP_ERROR", "JUMP_WARNING", "LARGE_CHANGE", "check_change", "check_jumps"]

#: A change against the old file by more than this fraction is a warning.
LARGE_CHANGE = 0.2
#: A jump between neighbouring wavelengths by more than this fraction is a warning.
JUMP_WARNING = 0.005
#: A jump by more than this fraction that the old file does not have is an error.
JUMP_ERROR = 0.1
# The slope around a point is the median over so many steps on either side.
_HALF_WINDOW = 5


def _usable(row: PhotomRow) -> tuple[np.ndarray, np.ndarray] | None:
    """Give wavelength and conversion if they are fit for comparing, else None."""
    if not 2 * _HALF_WINDOW < row.nelem <= row.wavelength.size:
        return None
    wavelength = row.wavelength[row.used].astype(float)
    conversion = row.photmj * row.relresponse[row.used].astype(float)
    if not (np.all(np.isfinite(conversion)) and np.all(conversion > 0)):
        return None
    if not (np.all(np.isfinite(wavelength)) and np.all(np.diff(wavelength) > 0)):
        return None
    return wavelength, conversion


def _kinks(conversion: np.ndarray) -> np.ndarray:
    """By how much, in ln, each step between neighbours differs from the steps around it."""
    steps = np.diff(np.log(conversion))
    padded = np.pad(steps, _HALF_WINDOW, mode="reflect")
    return steps - np.median(sliding_window_view(padded, 2 * _HALF_WINDOW + 1), axis=1)


def check_jumps(
    rows: Sequence[PhotomRow], old: Sequence[PhotomRow] | None = None
) -> Iterator[Finding]:
    """Look for jumps of the conversion between neighbouring wavelengths.

    A jump is a step that differs from the median of the steps around it.

    Parameters
    ----------
    rows : sequence of PhotomRow
        Rows of the file.
    old : sequence of PhotomRow, optional
        Rows of the file before; jumps that it has as well do not count.  Without it nothing
        says whether a jump is true, so none is an error.

    Yields
    ------
    Finding
        One per row with jumps.
    """
    before = {row.key: row for row in old or ()}
    for row in rows:
        usable = _usable(row)
        if usable is None:
            continue
        wavelength, conversion = usable
        kinks = _kinks(conversion)
        size = np.abs(kinks)
        reference = _usable(before[row.key]) if row.key in before else None
        if reference is not None:
            there = (wavelength >= reference[0][0]) & (wavelength <= reference[0][-1])
            old_kinks = _kinks(np.interp(wavelength, *reference))
            both = there[:-1] & there[1:]
            size = np.where(both, np.minimum(size, np.abs(kinks - old_kinks)), size)
        found = size > np.log1p(JUMP_WARNING)
        if not np.any(found):
            continue
        worst = int(np.argmax(size))
        forbidden = reference is not None and size[worst] > np.log1p(JUMP_ERROR)
        yield (error if forbidden else warning)(
            "jump",
            f"{row.title}: the conversion jumps by more than {100 * JUMP_WARNING:g} % between "
            f"neighbours at {np.count_nonzero(found)} places"
            f"{' where the old file does not' if reference is not None else ''}, most at "
            f"{wavelength[worst]:.5f} um, {_jump_size(kinks[worst])}.",
        )


def _jump_size(kink: float) -> str:
    if abs(kink) > np.log(2):
        return f"by a factor {np.exp(abs(kink)):.3g}"
    return f"by {100 * np.expm1(kink):+.2f} %"


def check_change(rows: Sequence[PhotomRow], old: Sequence[PhotomRow]) -> Iterator[Finding]:
    """Compare a photom file with the one before.

    Parameters
    ----------
    rows : sequence of PhotomRow
        Rows of the file.
    old : sequence of PhotomRow
        Rows of the file before.

    Yields
    ------
    Finding
        Missing and new rows, a changed unit, and the size of the change of each row.
    """
    present = {row.key for row in rows}
    before = {row.key: row for row in old}
    for row in old:
        if row.key not in present:
            yield error(
                "missing-row",
                f"{row.title} is in the old file but not in this one; the photom step would leave "
                "it and all later orders in DN/s and say COMPLETE.",
            )
    factor = nearest_factor(float(np.median(list(_ratios(rows, before)) or [1.0])))
    if factor is not None:
        yield error(
            "unit",
            f"The conversions are about {factor:g} times the old ones: another unit, such as Jy "
            "against MJy.",
        )
    for row in rows:
        reference = before.get(row.key)
        if reference is None:
            yield note("new-row", f"{row.title} is not in the old file.")
        elif _same(row, reference):
            yield note("change", f"{row.title} is the old row, bit for bit.")
        else:
            yield from _compare(row, reference, factor or 1.0)


def _ratios(
    rows: Sequence[PhotomRow], before: Mapping[tuple[str, str, int], PhotomRow]
) -> Iterator[float]:
    """Give the median ratio to the old conversion, of each row that can be compared."""
    for row in rows:
        if row.key in before:
            compared = _ratio(row, before[row.key])
            if compared is not None:
                yield float(np.median(compared[1]))


def _ratio(row: PhotomRow, old: PhotomRow) -> tuple[np.ndarray, np.ndarray] | None:
    """Give the wavelengths of a row that the old one covers, and the ratio to it there."""
    new, reference = _usable(row), _usable(old)
    if new is None or reference is None:
        return None
    wavelength, conversion = new
    inside = (wavelength >= reference[0][0]) & (wavelength <= reference[0][-1])
    if not np.any(inside):
        return None
    return wavelength[inside], conversion[inside] / np.interp(wavelength[inside], *reference)


def _same(row: PhotomRow, old: PhotomRow) -> bool:
    """Tell whether two rows hold the same bits; a padding of other length is no difference."""
    scalars = ("photmj", "uncertainty", "nelem")
    if any(getattr(row, name) != getattr(old, name) for name in scalars):
        return False
    return all(
        np.array_equal(
            np.trim_zeros(getattr(row, name), "b"), np.trim_zeros(getattr(old, name), "b")
        )
        for name in ("wavelength", "relresponse", "reluncertainty")
    )


def _compare(row: PhotomRow, old: PhotomRow, factor: float) -> Iterator[Finding]:
    """Compare a row with the old one, which is in a unit larger by ``factor``."""
    compared = _ratio(row, old)
    if compared is None:
        yield warning(
            "change",
            f"{row.title} cannot be compared with the old row: one has values that cannot be, or "
            "they have no wavelength in common.",
        )
        return
    at, ratio = compared
    ratio = ratio / factor
    median = float(np.median(ratio))
    # Rows of one file may be off by less than the tolerance for the file as a whole.
    other = nearest_factor(median, tolerance=10.0)
    if other is not None:
        yield error(
            "unit",
            f"{row.title}: the conversion is {median:.4g} times the old one, which looks like "
            f"another unit, by {other:g}, in this row only.",
        )
        return
    low, high = int(np.argmin(ratio)), int(np.argmax(ratio))
    large = np.abs(ratio - 1) > LARGE_CHANGE
    text = (
        f"{row.title}: against the old file{'' if factor == 1 else f' times {factor:g}'} "
        f"{100 * (median - 1):+.2f} % in the median, from "
        f"{100 * (ratio[low] - 1):+.2f} % at {at[low]:.4f} um to {100 * (ratio[high] - 1):+.2f} % "
        f"at {at[high]:.4f} um"
    )
    if np.any(large):
        text += f", over {100 * LARGE_CHANGE:.0f} % at {np.count_nonzero(large)} wavelengths"
    yield (warning if np.any(large) else note)("change", text + ".")
    new, reference = row.wavelength[row.used], old.wavelength[old.used]
    if new[0] > reference[0] or new[-1] < reference[-1]:
        yield warning(
            "range",
            f"{row.title} covers {new[0]:.4f} to {new[-1]:.4f} um, the old row "
            f"{reference[0]:.4f} to {reference[-1]:.4f}; fluxes beyond become exactly 0 with no "
            "flag.",
        )
