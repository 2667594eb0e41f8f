"""The report as one HTML file that needs nothing else: no network, no scripts, no other file."""

from __future__ import annotations

import base64
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path
from soss_photcal_steps.provenance import plain
from soss_photcal_steps.report.content import (
    Flag,
    ObservationPart,
    Picture,
    ReportData,
    slug,
)
from soss_photcal_steps.report.pictures import (
    DrawnPicture,
    PictureError,
    figure_file,
    fit_picture,
    shrink_picture,
)
from soss_photcal_steps.report.words import count

__all__ = ["render_report", "save_figures", "write_report"]

#: Titles of the sections about all observations, by their names in `ReportData`.
_TITLES = {
    "combination": "The combination",
    "influence": "What each star does to it",
    "response": "Old against new response",
    "joins": "Joins",
    "budget": "Error budget",
    "trend": "Throughput in time",
    "validation": "An independent star",
}
# Widths of the pictures of observations, pixels: the first at which the report is small enough.
_WIDTHS = (1100, 900, 720, 560, 420)
# A figure about all observations is drawn as lines, which stay sharp, up to this many bytes.
_VECTOR_LIMIT = 250_000
# So many observations are shown unfolded.
_UNFOLDED = 3
# What has no place in a page: control characters, halves of pairs, and turns of the direction
# of writing, which could show a name as another.
_UNWRITABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
_WORDS = {"error": "Error", "warning": "Warning", "note": "Note"}


@dataclass(frozen=True)
class _Shown:
    """A picture as the template needs it; `uri` is empty if it could not be drawn."""

    name: str
    number: int
    picture: Picture
    uri: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""


def _clean(value: Any) -> Any:
    """Give what is written into the page; it is escaped afterwards."""
    if isinstance(value, Markup):
        return value
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def _cell(value: Any) -> str:
    """Give a cell of a table in words."""
    if value is None or (_is_number(value) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")
    return str(value)


def _parameter(value: Any) -> str:
    """Give the value of a parameter so that text and number are told apart."""
    return json.dumps(plain(value), ensure_ascii=False, default=str)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("soss_photcal_steps.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(cell=_cell, parameter=_parameter)
    environment.tests["numeric"] = _is_number
    return environment


def _style() -> Markup:
    path = resources.files("soss_photcal_steps.report").joinpath("templates/report.css")
    # The style sheet is ours, and has no characters that would have to be escaped.
    return Markup(path.read_text(encoding="utf-8"))


def _fit_all(data: ReportData, max_bytes: int) -> dict[str, DrawnPicture | PictureError]:
    """Draw all pictures, those of observations as large as the limit allows."""
    pictures = data.named_pictures()
    single = {id(picture) for one in data.observations for picture in one.all_pictures()}
    fitted: dict[str, DrawnPicture | PictureError] = {}
    for name, picture in pictures.items():
        limit = 0 if id(picture) in single else _VECTOR_LIMIT
        try:
            fitted[name] = fit_picture(picture.content, _WIDTHS[0], limit)
        except PictureError as error:
            fitted[name] = error
    for width in _WIDTHS[1:]:
        drawn = [one for one in fitted.values() if isinstance(one, DrawnPicture)]
        if sum(4 * len(one.content) // 3 for one in drawn) <= max_bytes:
            break
        for name, one in fitted.items():
            if isinstance(one, DrawnPicture) and id(pictures[name]) in single:
                fitted[name] = shrink_picture(one, width)
    return fitted


def _show(name: str, number: int, picture: Picture, fit: DrawnPicture | PictureError) -> _Shown:
    if isinstance(fit, PictureError):
        return _Shown(name, number, picture, problem=str(fit))
    code = base64.b64encode(fit.content).decode("ascii")
    uri = f"data:image/{fit.kind};base64,{code}"
    return _Shown(name, number, picture, uri, fit.width, fit.height)


def _observation_table(observations: Sequence[ObservationPart]) -> dict[str, Any]:
    """Make the table of what went in; its columns are all facts that any observation has."""
    keys = list(dict.fromkeys(key for one in observations for key in one.facts))
    return {
        "columns": ["Observation", "Star", *keys, "State"],
        "rows": [
            [one.name, one.star, *(one.facts.get(key) for key in keys), one.state]
            for one in observations
        ],
    }


def _input_rows(data: ReportData) -> list[list[Any]]:
    inputs = data.record.inputs if data.record is not None else ()
    return [[one.get(key) for key in ("name", "size", "method", "sha256")] for one in inputs]


def _verdict(data: ReportData, flags: Sequence[Flag]) -> tuple[str, str]:
    """Give class and sentence of the verdict."""
    errors = sum(flag.severity == "error" for flag in flags)
    warnings = sum(flag.severity == "warning" for flag in flags)
    if data.checks is None:
        sentence = "The new photom file was not checked."
    elif not data.checks.deliverable:
        sentence = "The new photom file must not be delivered."
    elif errors:
        sentence = "The new photom file passes its checks, but errors below forbid its delivery."
    else:
        sentence = "The new photom file passes its checks and may be delivered."
    kind = "error" if errors else "warning" if warnings or data.checks is None else "good"
    return kind, f"{sentence} {count(errors, 'error')}, {count(warnings, 'warning')}."


def _targets(data: ReportData, observation_ids: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Say where a flag may lead: link and words by the name that it uses."""
    sections = {name: (name, title) for name, title in _TITLES.items()}
    sections |= {
        "checks": ("checks", "Checks"),
        "record": ("record", "Record"),
        "observations": ("observations", "What went in"),
        "coverage": ("observations", "What went in"),
    }
    return sections | {name: (link, name) for name, link in observation_ids.items()}


def _observation_ids(observations: Sequence[ObservationPart]) -> list[str]:
    """Give each observation a name for links that no other has."""
    ids: list[str] = []
    for one in observations:
        base = name = f"obs-{slug(one.name)}"
        while name in ids:
            name = f"{base}-{len(ids)}"
        ids.append(name)
    return ids


def render_report(data: ReportData, max_bytes: int = 10_000_000) -> str:
    """Make the page.

    Parameters
    ----------
    data : ReportData
        What is shown.
    max_bytes : int
        The pictures of single observations are made smaller until the page is no larger than
        that, as far as they stay legible.

    Returns
    -------
    str
        The page, the same for the same data.
    """
    flags = data.sorted_flags()
    kind, sentence = _verdict(data, flags)
    # A tenth is kept for tables and text.
    fitted = _fit_all(data, max_bytes * 9 // 10)
    shown = [
        (picture, _show(name, number, picture, fitted[name]))
        for number, (name, picture) in enumerate(data.named_pictures().items(), 1)
    ]
    ids = _observation_ids(data.observations)
    grave = {flag.where for flag in flags if flag.severity != "note"}
    observations = [
        {
            "id": name,
            "data": one,
            "open": len(ids) <= _UNFOLDED or one.name in grave or one.state == "failed",
            "parts": [
                ("Background", one.background), ("Spectra", one.spectra),
                ("Ratio and fit", one.fits),
            ],
        }
        for name, one in zip(ids, data.observations, strict=True)
    ]  # fmt: skip
    sections = [(name, _TITLES[name], part) for name, part in data.parts()]
    by_identity = {id(picture): item for picture, item in shown}
    return (
        _environment()
        .get_template("report.html")
        .render(
            data=data,
            style=_style(),
            flags=[flag for flag in flags if flag.severity != "note"],
            notes=[flag for flag in flags if flag.severity == "note"],
            words=_WORDS,
            # The folder is of no use to others.
            checked_file=os.path.basename(data.checks.path) if data.checks else "",
            verdict_kind=kind,
            verdict=sentence,
            targets=_targets(
                data, {one.name: i for one, i in zip(data.observations, ids, strict=True)}
            ),
            table_data=_observation_table(data.observations),
            input_rows=_input_rows(data),
            observations=observations,
            sections=sections,
            missing=data.missing,
            shown=lambda picture: by_identity[id(picture)],
        )
    )


def write_report(
    data: ReportData, path: str | os.PathLike[str], max_bytes: int = 10_000_000
) -> Path:
    """Write the report as one HTML file.

    Parameters
    ----------
    data : ReportData
        What is shown.
    path : path
        The file; nothing is there that is not whole.
    max_bytes : int
        As for `render_report`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    SossInputError
        If the file cannot be written.
    """
    content = render_report(data, max_bytes).encode("utf-8")
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(content)
    return Path(path)


def save_figures(
    data: ReportData,
    folder: str | os.PathLike[str],
    formats: Sequence[str] = ("png", "pdf"),
) -> list[Path]:
    """Save the figures of a report one by one.

    Parameters
    ----------
    data : ReportData
        The report.
    folder : path
        Where they go; it is made if it is not there.
    formats : sequence of {"png", "pdf", "svg"}
        Formats.  A picture that is a PNG file already is saved as such only.

    Returns
    -------
    list of pathlib.Path
        The files.  A figure that cannot be drawn, of which the report says so, is not there.

    Raises
    ------
    SossInputError
        If the folder cannot be made or written to, or there is no such format.
    """
    unknown = [kind for kind in formats if kind not in ("png", "pdf", "svg")]
    if unknown or not formats:
        raise SossInputError(
            f"A figure is saved as png, pdf or svg, not {', '.join(unknown) or 'nothing'}."
        )
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise SossInputError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    saved = []
    for name, picture in data.named_pictures().items():
        content = picture.content
        for kind in formats if isinstance(content, Figure) else ("png",):
            try:
                whole = figure_file(content, kind) if isinstance(content, Figure) else content
            except PictureError:
                continue
            target = Path(folder) / f"{name}.{kind}"
            with atomic_path(target) as temporary:
                Path(temporary).write_bytes(whole)
            saved.append(target)
    return saved
