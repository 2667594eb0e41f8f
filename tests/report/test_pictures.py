"""Figures as files."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from soss_photcal_steps.report.pictures import (
    PictureError,
    figure_file,
    fit_picture,
    shrink_picture,
)


def figure(title="a title"):
    """Make a figure with a clipped line, a marker and a legend."""
    made = Figure(figsize=(6, 3), layout="constrained")
    made.suptitle(title)
    left, right = made.subplots(1, 2)
    left.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2, "o-", label="square")
    left.fill_between([0, 1], [0, 0], [1, 0.5], alpha=0.3)
    left.annotate("here", (0.5, 0.5))
    right.axhline(0.5, color="r")
    left.legend()
    return made


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_same_figure_same_bytes(kind):
    """Twice the same figure, and two figures of the same data, give the same bytes."""
    one = figure()
    first = figure_file(one, kind)
    assert figure_file(one, kind) == first
    assert figure_file(figure(), kind) == first


def test_files_name_no_software_and_no_date():
    """No version of matplotlib and no date is in a file, so only pixels can differ."""
    assert b"Software" not in figure_file(figure(), "png")
    assert b"<dc:date>" not in figure_file(figure(), "svg")
    assert b"CreationDate" not in figure_file(figure(), "pdf")


def test_unknown_format_is_refused():
    """A format that is not offered is an error that names those that are."""
    with pytest.raises(ValueError, match="png, svg, pdf, not 'gif'"):
        figure_file(figure(), "gif")


def test_figure_that_cannot_be_drawn():
    """A title that matplotlib takes for a broken formula raises one clear error."""
    with pytest.raises(PictureError):
        figure_file(figure(r"$\frac{$"), "png")


def test_missing_glyph_is_no_warning():
    """A character that the font lacks is drawn as a box, without a warning."""
    assert figure_file(figure("\u661f"), "png").startswith(b"\x89PNG")


def test_small_vector_stays_a_vector():
    """A figure becomes SVG if that is small enough, and else a PNG of its size on the page."""
    small = fit_picture(figure(), 1100, vector_limit=1_000_000)
    assert (small.kind, small.width, small.height) == ("svg+xml", 660, 330)
    other = fit_picture(figure(), 1100, vector_limit=1000)
    assert (other.kind, other.width, other.height) == ("png", 660, 330)


def test_png_is_small_and_white():
    """The palette makes the file less than half as large, and white stays white."""
    whole = figure_file(figure(), "png", 110)
    small = fit_picture(figure(), 1100)
    assert len(small.content) < 0.5 * len(whole)
    with Image.open(io.BytesIO(small.content)) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_shrinking():
    """A PNG is made as narrow as asked for and keeps its shape; an SVG stays as it is."""
    picture = fit_picture(figure(), 1100)
    half = shrink_picture(picture, 330)
    assert (half.width, half.height) == (330, 165)
    assert shrink_picture(picture, 2000) is picture
    vector = fit_picture(figure(), 1100, vector_limit=1_000_000)
    assert shrink_picture(vector, 100) is vector


def test_png_file_is_taken():
    """A PNG file is taken as it is, and one that is larger than the page is made narrower."""
    whole = figure_file(figure(), "png", 300)
    assert fit_picture(whole, 900).width == 900
    assert fit_picture(figure_file(figure(), "png", 100), 900).width == 600


def test_transparent_png_has_a_white_ground():
    """What is transparent in a file becomes white, not black."""
    stream = io.BytesIO()
    Image.new("RGBA", (20, 10), (0, 0, 0, 0)).save(stream, "png")
    with Image.open(io.BytesIO(fit_picture(stream.getvalue(), 900).content)) as image:
        assert image.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"not a picture", figure_file(figure(), "png")[:900]])
def test_damaged_file(content):
    """Something that is not a whole PNG file raises one clear error."""
    with pytest.raises(PictureError, match="not a whole PNG"):
        fit_picture(content, 900)
