"""The templates of a library that exists already, to which new ones are added."""

from __future__ import annotations

import os
import re

import numpy as np
from astropy.io import fits

from soss_photcal_steps.background.inputs import ExposureInfo
from soss_photcal_steps.background.reference import read_library
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.template.library import TemplateEntry

__all__ = ["read_entries"]

_ORIGIN = re.compile(r"template\s+(\d+)\s*,\s*(.+)", re.IGNORECASE)


def read_entries(path: str | os.PathLike[str], info: ExposureInfo) -> list[TemplateEntry]:
    """Read a library with errors, flags and origins.

    Parameters
    ----------
    path : path
        The library.
    info : ExposureInfo
        An exposure of the new templates, which must be of the same filter and subarray.

    Returns
    -------
    list of TemplateEntry
        Its templates as they are.

    Raises
    ------
    SossInputError
        If it cannot be read, or is for other data.
    """
    known = read_library(path, info.window, str(info.filter))
    with fits.open(path, memmap=False) as hdus:
        shape = hdus["SCI"].data.shape
        if shape[1:] != (info.window.n_rows, info.window.n_columns):
            raise SossInputError(
                f"The library {os.path.basename(path)} has templates of {shape[1]} x {shape[2]} "
                f"pixels, the new ones have {info.window.n_rows} x {info.window.n_columns}; "
                "templates of one library have one size."
            )
        data = np.array(hdus["SCI"].data, np.float32)
        errors = np.array(hdus["ERR"].data, np.float32) if "ERR" in hdus else np.zeros_like(data)
        quality = (
            np.array(hdus["DQ"].data, np.uint32)
            if "DQ" in hdus
            else np.zeros(data.shape, np.uint32)
        )
        origins = _origins(hdus[0].header, len(data))
    return [
        TemplateEntry(name, data[k], errors[k], quality[k], origins[k])
        for k, name in enumerate(known.names)
    ]


def _origins(header: fits.Header, count: int) -> list[tuple[str, ...]]:
    """Take the origins from HISTORY, with their broken lines put together again."""
    found: list[list[str]] = [[] for _ in range(count)]
    current: list[str] | None = None
    for card in header.get("HISTORY") or ():
        text = str(card)
        match = _ORIGIN.match(text.strip())
        if match and int(match[1]) < count:
            current = found[int(match[1])]
            current.append(match[2])
        elif current and text.startswith("  "):
            current[-1] += " " + text.strip()
        else:
            current = None
    return [tuple(lines) for lines in found]
