"""Figures as files: small, and the same bytes for the same figure."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["DrawnPicture", "PictureError", "figure_file", "fit_picture", "shrink_picture"]

# A name of its own for what matplotlib would call after the time or a random number.
_SALT = "soss_photcal_steps"
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
# Text in a picture is about as large as that of the page at so many pixels per inch.
_DPI = 110
_LONGEST = 8000


class PictureError(ValueError):
    """A figure cannot be drawn; the message says why."""


@dataclass(frozen=True)
class DrawnPicture:
    """A picture as a file, to be put into a page.

    Attributes
    ----------
    content : bytes
        The file.
    kind : {"png", "svg+xml"}
        Its media type after ``image/``.
    width, height : int
        Size on the page, pixels.
    """

    content: bytes
    kind: str
    width: int
    height: int


def figure_file(figure: Figure, kind: str, dpi: float = 150) -> bytes:
    """Write a figure in memory, without dates, random names or names of software.

    Parameters
    ----------
    figure : Figure
        The figure.
    kind : {"png", "svg", "pdf"}
        The format.
    dpi : float
        Pixels per inch.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    PictureError
        If matplotlib cannot draw the figure.
    ValueError
        If there is no such format.
    """
    if kind not in _METADATA:
        raise ValueError(f"a figure is saved as {', '.join(_METADATA)}, not {kind!r}")
    figure = _copy(figure)
    stream = io.BytesIO()
    settings = {"svg.hashsalt": _SALT, "svg.fonttype": "path", "savefig.bbox": "standard"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A character that the font lacks is drawn as a box; that is all there is to be said.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        try:
            figure.savefig(
                stream, format=kind, dpi=dpi, facecolor="white", metadata=_METADATA[kind]
            )
        except (ValueError, ArithmeticError, RuntimeError) as error:
            # A name in the figure that looks like a formula, or numbers beyond all scales.
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            raise PictureError(first) from error
    return _steady_ids(stream.getvalue()) if kind == "svg" else stream.getvalue()


def _steady_ids(vector: bytes) -> bytes:
    """Give the clip paths of an SVG numbers; matplotlib names them after places in memory."""
    names = dict.fromkeys(re.findall(rb'<clipPath id="(p[0-9a-f]{10})"', vector))
    numbers = {name: b"clip%d" % number for number, name in enumerate(names)}
    return re.sub(rb"\bp[0-9a-f]{10}\b", lambda m: numbers.get(m[0], m[0]), vector)


def _copy(figure: Figure) -> Figure:
    """Give a copy to draw: drawing moves the panels, and the next drawing would differ."""
    # A figure of pyplot would open a second window.
    if figure.canvas.manager is not None:
        return figure
    try:
        return pickle.loads(pickle.dumps(figure))
    except (pickle.PicklingError, AttributeError, TypeError):
        # Such as one with a formatter that is a function within a function.
        return figure


def _open(data: bytes) -> Image.Image:
    """Give a PNG file in full colours."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if max(image.size) > _LONGEST:
                raise PictureError(f"{image.size[0]} x {image.size[1]} pixels are too many")
            # Transparent parts would become black.
            full = Image.new("RGB", image.size, "white")
            rgba = image.convert("RGBA")
            full.paste(rgba, mask=rgba.getchannel("A"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError("it is not a whole PNG file") from error
    return full


def _palette_png(image: Image.Image) -> bytes:
    """Write a picture with 256 colours: a third of the size, and lines stay sharp."""
    small = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = small.getpalette() or []
    # The search for colours leaves white a shade darker than the page.
    small.putpalette([255 if value >= 252 else value for value in palette])
    stream = io.BytesIO()
    small.save(stream, "png", optimize=True)
    return stream.getvalue()


def fit_picture(content: Figure | bytes, width: int, vector_limit: int = 0) -> DrawnPicture:
    """Make a small file of a figure or a picture.

    Parameters
    ----------
    content : Figure or bytes
        The figure, or a PNG file.
    width : int
        Largest width, pixels; a picture that is not as wide keeps its width.
    vector_limit : int
        A figure that as SVG takes no more bytes than that becomes one.

    Returns
    -------
    DrawnPicture
        The file.

    Raises
    ------
    PictureError
        If it cannot be drawn or read.
    """
    if vector_limit and isinstance(content, Figure):
        vector = figure_file(content, "svg")
        if len(vector) <= vector_limit:
            size = content.get_size_inches() * _DPI
            return DrawnPicture(vector, "svg+xml", int(size[0]), int(size[1]))
    if isinstance(content, Figure):
        # Drawn at its final size, text is sharper than made smaller afterwards.
        dpi = min(_DPI, width / content.get_size_inches()[0])
        content = figure_file(content, "png", dpi)
    return _sized(_open(content), width)


def shrink_picture(picture: DrawnPicture, width: int) -> DrawnPicture:
    """Make a picture smaller.

    Parameters
    ----------
    picture : DrawnPicture
        The picture; one of lines stays as it is.
    width : int
        Largest width, pixels.

    Returns
    -------
    DrawnPicture
        The same picture, no wider than that.
    """
    if picture.kind != "png" or picture.width <= width:
        return picture
    return _sized(_open(picture.content), width)


def _sized(image: Image.Image, width: int) -> DrawnPicture:
    if image.width > width:
        height = max(round(image.height * width / image.width), 1)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return DrawnPicture(_palette_png(image), "png", *image.size)
