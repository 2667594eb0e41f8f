"""What the figures share: colours of stars, text that cannot break a figure, and limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font

__all__ = ["STYLES", "bulk_limits", "drawable", "figure_legend", "shade_outside", "star_colours"]

# Dark enough to be seen on white, and told apart with the usual kinds of colour blindness; the
# line styles help where colours do not.
_COLOURS = (
    "#0072b2", "#d55e00", "#00795a", "#a63a86", "#7a6000", "#4f46b8", "#7f3b08", "#4d4d4d",
)  # fmt: skip
#: Line styles of several curves of one star.
STYLES = ("-", "--", "-.", ":")


def star_colours(stars: Iterable[str]) -> dict[str, str]:
    """Give each star a colour, the same for the same set of stars.

    Parameters
    ----------
    stars : iterable of str
        Names, also repeated.

    Returns
    -------
    dict of str to str
        Colour by name.  Beyond eight stars colours are used again.
    """
    return {star: _COLOURS[i % len(_COLOURS)] for i, star in enumerate(sorted(set(stars)))}


@cache
def _has_glyph(character: str) -> bool:
    font = get_font(findfont(FontProperties()))
    return font.get_char_index(ord(character)) != 0


def drawable(text: str) -> str:
    """Make a text from a header safe for a figure.

    matplotlib reads what is between dollar signs as a formula, and fails if it is none; it
    leaves labels that begin with an underscore out of legends; and it warns of characters that
    its font does not have.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        What is drawn as that text, with a mark for characters that cannot be drawn.
    """
    mark = "\N{REPLACEMENT CHARACTER}"
    seen = "".join(
        one if one == "\n" or (one.isprintable() and _has_glyph(one)) else mark for one in str(text)
    )
    seen = seen.replace("$", r"\$")
    return f" {seen}" if seen.startswith("_") else seen


def bulk_limits(
    *arrays: np.ndarray, margin: float = 0.15, least: float = 1e-6
) -> tuple[float, float] | None:
    """Give limits of an axis that hold the bulk of the values, so that a spike flattens nothing.

    Parameters
    ----------
    *arrays : ndarray
        Values of any shape; what is not finite does not count.
    margin : float
        Room on either side, as a fraction of the width of the bulk.
    least : float
        Least room, in the unit of the values.

    Returns
    -------
    tuple of float or None
        Lower and upper limit; None if there is no finite value.
    """
    flat = [np.ravel(np.asarray(array, float)) for array in arrays]
    values = np.concatenate([np.empty(0), *flat])
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, [0.5, 99.5])
    # Values that are all the same need some room, too.
    room = max(margin * (high - low), least, 1e-3 * max(abs(low), abs(high)), 1e-300)
    return float(low - room), float(high + room)


def shade_outside(axis: Axes, measured: tuple[float, float], label: str) -> None:
    """Shade what lies outside a range, within the present limits; the axis is edited.

    Parameters
    ----------
    axis : Axes
        The axis.
    measured : tuple of float
        Ends of the range.
    label : str
        Label for the legend.
    """
    low, high = axis.get_xlim()
    spans = [(low, min(measured[0], high)), (max(measured[1], low), high)]
    first = True
    for start, stop in spans:
        if stop > start:
            axis.axvspan(
                start, stop, color="#e6e6e6", lw=0, zorder=0, label=label if first else None
            )
            first = False
    axis.set_xlim(low, high)


def figure_legend(axes: Sequence[Axes], columns: int = 3) -> None:
    """Put one legend of several axes below a figure, each label once; the figure is edited.

    Parameters
    ----------
    axes : sequence of Axes
        Axes of one figure with a constrained layout.
    columns : int
        Columns of the legend.
    """
    entries: dict[str, Artist] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure = axes[0].figure
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns,
            fontsize=8, frameon=False,
        )  # fmt: skip
