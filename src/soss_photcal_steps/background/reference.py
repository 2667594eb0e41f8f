"""The library of background templates: reading it, and cutting it to the data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits

from soss_photcal_steps.background.window import Window
from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import check_cards, check_fits
from soss_photcal_steps.strangers import check_asdf
from soss_photcal_steps.trace import ORDERS, rotate_trace
from soss_photcal_steps.trace import trace_positions as tabulated_positions

__all__ = [
    "BackgroundLibrary",
    "cut_library",
    "pastasoss_positions",
    "read_library",
    "repair_templates",
    "trace_positions",
    "with_candidate",
]

# A template with fewer usable pixels than this is refused: it is not a template of this frame.
_LEAST_USABLE = 0.5
# The background differs by a factor of 1.6 over the detector; a pixel that is this many times
# brighter or fainter than the median is damaged.
_LARGEST_FACTOR = 30.0
_TEMPLATE_NAME = re.compile(r"template\s+(\d+)\s*:\s*(.+)", re.IGNORECASE)


@dataclass(frozen=True)
class BackgroundLibrary:
    """Background templates, cut to the data.

    Attributes
    ----------
    images : ndarray
        Templates, shape (n, n_rows, n_columns), float32, DN/s.
    names : tuple of str
        Name of each template.
    source : str
        File or files that they come from.
    n_filled : int
        Pixels that had no usable value and were filled from their neighbours in the row.
    filter_known : bool
        Whether the library says which filter it is for.
    """

    images: np.ndarray
    names: tuple[str, ...]
    source: str
    n_filled: int = 0
    filter_known: bool = True


def cut_library(
    images: np.ndarray,
    window: Window,
    wanted: Window,
    source: str,
    names: Sequence[str] | None = None,
) -> BackgroundLibrary:
    """Cut templates to the part of the detector that the data cover.

    Parameters
    ----------
    images : ndarray
        Templates, shape (n, n_rows, n_columns), DN/s.  A memory map is read only where needed.
    window : Window
        What the templates cover.
    wanted : Window
        What the data cover.
    source : str
        What the library is called in errors: its file.
    names : sequence of str, optional
        Name of each template; by default ``template`` and its number, from 0.

    Returns
    -------
    BackgroundLibrary
        The templates of these rows and columns, without gaps.

    Raises
    ------
    SossInputError
        If the templates do not cover the data, or one of them has no usable values.
    """
    if images.ndim != 3 or len(images) == 0:
        raise SossInputError(
            f"The background library {source} must hold images of shape (templates, rows, "
            f"columns), not {images.shape}."
        )
    part = window.part(wanted)
    if part is None:
        right = {256: "SUBSTRIP256 or FULL", 96: "SUBSTRIP96, SUBSTRIP256 or FULL"}
        raise SossInputError(
            f"The background library {source} covers {window} of the detector, the data cover "
            f"{wanted}; a library for {right.get(wanted.n_rows, 'FULL')} is needed."
        )
    if names is None:
        names = [f"template {k}" for k in range(len(images))]
    cut = np.empty((len(images), wanted.n_rows, wanted.n_columns), dtype=np.float32)
    for k, image in enumerate(images):
        cut[k] = image[part]
    # A full-frame library is large; it is not copied once more.
    n_filled = _repair(cut, wanted, source)
    return BackgroundLibrary(cut, tuple(names), source, n_filled)


def repair_templates(images: np.ndarray, window: Window, source: str) -> tuple[np.ndarray, int]:
    """Fill the gaps of templates.

    Subtracting a zero or a NaN would leave the background, or a hole, in that pixel; so would
    a value that is 30 times the median, or a 30th of it.  The
    background changes so slowly along a row that its neighbours tell it.  The reference
    pixels see no sky, and nothing is to be subtracted there.

    Parameters
    ----------
    images : ndarray
        Templates, shape (n, n_rows, n_columns), DN/s.
    window : Window
        What they cover.
    source : str
        What the library is called in errors: its file.

    Returns
    -------
    images : ndarray
        The templates without gaps.
    n_filled : int
        Pixels filled, in all templates together.

    Raises
    ------
    SossInputError
        If less than half of a template's pixels are positive and finite.
    """
    images = np.array(images, dtype=np.float32)
    return images, _repair(images, window, source)


def _repair(images: np.ndarray, window: Window, source: str) -> int:
    """Do in place what `repair_templates` does, and give the number of pixels filled."""
    border = window.reference_pixels
    inner, edge = ~border, np.flatnonzero(border)
    n_inner = max(int(inner.sum()), 1)
    n_filled = 0
    for k, image in enumerate(images):
        middle = _middle(image, inner)
        with np.errstate(invalid="ignore"):
            usable = (image > middle / _LARGEST_FACTOR) & (image < _LARGEST_FACTOR * middle)
            usable &= inner
            values = image.flat[edge]
            image.flat[edge[~(np.abs(values) < _LARGEST_FACTOR * middle)]] = 0
        n_usable = int(np.count_nonzero(usable))
        if n_usable < _LEAST_USABLE * n_inner:
            raise SossInputError(
                f"Template {k} of the background library {source} has positive, finite values "
                f"in only {100 * n_usable / n_inner:.0f} per cent of its pixels; at least "
                f"{100 * _LEAST_USABLE:.0f} are needed."
            )
        if n_usable == n_inner:
            continue
        gap = inner & ~usable
        n_filled += int(gap.sum())
        for row in np.flatnonzero(gap.any(axis=1)):
            known = np.flatnonzero(usable[row])
            empty = np.flatnonzero(gap[row])
            if known.size:
                image[row, empty] = np.interp(empty, known, image[row, known])
            else:
                image[row, empty] = _typical_columns(image, usable)[empty]
    return n_filled


def _middle(image: np.ndarray, inner: np.ndarray) -> float:
    """Median of the positive, finite values; some ten thousand pixels are enough for it."""
    for step in (5, 1):
        values = image[::step, ::step][inner[::step, ::step]]
        with np.errstate(invalid="ignore"):
            values = values[np.isfinite(values) & (values > 0)]
        if values.size:
            return float(np.median(values))
    return 0.0


def _typical_columns(image: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Mean of the usable pixels of each column; the mean of all where a column has none."""
    total = np.where(usable, image, 0).sum(axis=0, dtype=float)
    count = usable.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), total.sum() / count.sum())


def with_candidate(
    library: BackgroundLibrary | None, image: np.ndarray, name: str, source: str
) -> BackgroundLibrary:
    """Add one more template to a library.

    Parameters
    ----------
    library : BackgroundLibrary or None
        The library; None if the new template is alone.
    image : ndarray
        The template, shape (n_rows, n_columns), DN/s.
    name : str
        Its name.
    source : str
        Where it comes from.

    Returns
    -------
    BackgroundLibrary
        A new library with the template at its end.
    """
    one = np.asarray(image, dtype=np.float32)[None]
    if library is None:
        return BackgroundLibrary(one, (name,), source)
    return replace(
        library,
        images=np.concatenate([library.images, one]),
        names=(*library.names, name),
        source=f"{library.source} + {source}",
    )


def read_library(reference: Any, wanted: Window, filter_name: str) -> BackgroundLibrary:
    """Read the templates of a ``bkg`` reference that the data need.

    Parameters
    ----------
    reference : path or SossBkgModel
        The reference.  Of a file only the rows that the data cover are read.
    wanted : Window
        What the data cover.
    filter_name : str
        Filter of the data.

    Returns
    -------
    BackgroundLibrary
        The templates, cut to the data.

    Raises
    ------
    SossInputError
        If the reference is for another instrument, mode or filter, covers other rows, or
        has no usable values.
    """
    if isinstance(reference, str | os.PathLike):
        check_fits(reference)
        source = os.path.basename(reference)
        with fits.open(reference, memmap=True) as hdus:
            header = hdus[0].header
            check_cards(header, reference)
            try:
                images = hdus["SCI"]
            except KeyError:
                raise SossInputError(
                    f"The background library {source} has no SCI extension with templates."
                ) from None
            return _checked(header, images.data, source, wanted, filter_name)
    meta = reference.meta
    header = {
        "INSTRUME": meta.instrument.name,
        "EXP_TYPE": meta.exposure.type,
        "FILTER": meta.instrument.filter,
        "SUBARRAY": meta.subarray.name,
        "SUBSTRT1": meta.subarray.xstart,
        "SUBSTRT2": meta.subarray.ystart,
        "SUBSIZE1": meta.subarray.xsize,
        "SUBSIZE2": meta.subarray.ysize,
    }
    source = meta.filename or "given as a model"
    return _checked(header, reference.data, source, wanted, filter_name)


def _checked(
    header: Mapping[str, Any],
    images: np.ndarray | None,
    source: str,
    wanted: Window,
    filter_name: str,
) -> BackgroundLibrary:
    if images is None or images.ndim != 3:
        shape = None if images is None else images.shape
        raise SossInputError(
            f"The background library {source} must hold images of shape (templates, rows, "
            f"columns), not {shape}."
        )
    for key, right in (("INSTRUME", "NIRISS"), ("EXP_TYPE", "NIS_SOSS")):
        value = header.get(key)
        if value is not None and str(value).upper() != right:
            raise SossInputError(
                f"The background library {source} is for {key} = {value}; {right} is needed."
            )
    value = header.get("FILTER")
    known = value is not None and str(value).upper() not in ("", "ANY", "N/A", "GENERIC")
    if known and str(value).upper() != filter_name.upper():
        raise SossInputError(
            f"The background library {source} is for the filter {value}; the data were taken "
            f"with {filter_name}."
        )
    name = f"The background library {source}"
    window = Window.from_header(name, header, images.shape[1:])
    library = cut_library(images, window, wanted, source, _names(header, len(images)))
    return replace(library, filter_known=known)


def _names(header: Mapping[str, Any], count: int) -> list[str]:
    """Take the templates' names from HISTORY lines such as ``Template 3: dark field``."""
    names = [f"template {k}" for k in range(count)]
    for line in header.get("HISTORY") or ():
        match = _TEMPLATE_NAME.match(str(line).strip())
        if match and int(match[1]) < count:
            names[int(match[1])] = match[2].strip()
    return names


def trace_positions(
    pwcpos: float, filter_name: str, reference: Any = None
) -> dict[int, np.ndarray]:
    """Rows of the traces that leave light in the data.

    Parameters
    ----------
    pwcpos : float
        Angle of the pupil wheel, keyword PWCPOS, degrees.
    filter_name : str
        Filter of the data; F277W blocks all but the red part of order 1.
    reference : path or PastasossModel, optional
        The ``pastasoss`` reference; the package's table is used for the orders that it
        does not have, and for all if it is not given.

    Returns
    -------
    dict of int to ndarray
        Order to row at each column, shape (2048,), pixels of SUBSTRIP256.
    """
    orders = (1,) if filter_name.upper() == "F277W" else ORDERS
    given = {} if reference is None else pastasoss_positions(reference, pwcpos)
    return {
        order: given[order] if order in given else tabulated_positions(order, pwcpos)
        for order in orders
    }


def pastasoss_positions(reference: Any, pwcpos: float) -> dict[int, np.ndarray]:
    """Rows of the traces according to a ``pastasoss`` reference.

    Parameters
    ----------
    reference : path or PastasossModel
        The reference.
    pwcpos : float
        Angle of the pupil wheel, degrees.

    Returns
    -------
    dict of int to ndarray
        Order to row at each column, shape (2048,), pixels of SUBSTRIP256.

    Raises
    ------
    SossInputError
        If the reference cannot be read as one.
    """
    # Importing the data models takes a second, and a notebook may not need them.
    import asdf
    from stdatamodels.jwst.datamodels import PastasossModel

    is_path = isinstance(reference, str | os.PathLike)
    name = reference if is_path else reference.meta.filename
    if is_path:
        check_asdf(reference, "pastasoss reference")
    try:
        with ExitStack() as stack:
            content = reference
            if is_path:
                # The arrays have checksums, which the data model does not look at by itself.
                content = stack.enter_context(
                    asdf.open(reference, lazy_load=False, memmap=False, validate_checksums=True)
                )
            model = stack.enter_context(PastasossModel(content))
            commanded = float(model.meta.pwcpos_cmd)
            return {
                int(trace.spectral_order): rotate_trace(
                    np.asarray(trace.trace)[:, 0],
                    np.asarray(trace.trace)[:, 1],
                    (float(trace.pivot_x), float(trace.pivot_y)),
                    pwcpos,
                    pwcpos_commanded=commanded,
                )
                for trace in model.traces
            }
    except MemoryError:
        raise
    except Exception as error:
        # Whatever asdf, yaml or stdatamodels stumbles over, the file is at fault.
        raise SossInputError(
            f"The trace reference {name} cannot be read as a pastasoss file: {reason(error)}."
        ) from error
