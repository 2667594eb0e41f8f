"""Bias of the subtracted background on simulated scenes whose truth is known."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["KINDS", "LIMITS", "kind_names", "run_accuracy"]

#: Sides that the bias is given for.
SIDES = ("left", "right", "beyond 950")
# Beyond this distance from the break's middle its profile is reached to within one per cent.
_TRANSITION = 0.01
_FAR_COLUMN = 950
_REFERENCE_BORDER = 4


def _kinds() -> dict[str, dict[str, dict[str, Any]]]:
    stars = ("bright", "mid", "faint")
    variants = ("strength", "slope", "chromatic", "asymmetric", "isotropic", "broken", "halo",
                "streaks")  # fmt: skip
    shapes = ("mixture", "family", "outside")
    groups: dict[str, dict[str, dict[str, Any]]] = {
        "base": {star: {"star": star} for star in stars},
        "one": {f"{star}, 1 integration": {"star": star, "nints": 1} for star in stars},
        "wings": {f"bright, wings {w}": {"star": "bright", "wings": w} for w in variants},
        "outside": {
            f"{star}, {shape}": {"star": star, "background": shape}
            for shape in shapes
            for star in ("bright", "faint")
        },
        "crowded": {f"{s}, crowded": {"star": s, "contamination": "crowded"} for s in stars},
        "sub96": {f"{s}, SUBSTRIP96": {"star": s, "subarray": "SUBSTRIP96"} for s in stars},
        "full": {f"{s}, FULL": {"star": s, "subarray": "FULL"} for s in ("bright", "faint")},
        "sides": {f"{s}, right side 10 % lower": {"star": s, "side_ratio": 0.9} for s in stars},
        "f277w": {f"{s}, F277W": {"star": s, "filter": "F277W"} for s in stars},
    }
    return groups


#: Parameters of the scenes, by group and kind.
KINDS = _kinds()
#: Largest median and worst bias that is asked for, per cent, by group; the second pair beyond
#: column 950 where that is another.
LIMITS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "base": ((0.3, 1.0), (0.3, 1.0)),
    "one": ((0.6, 1.5), (0.6, 1.5)),
    "wings": ((0.5, 1.5), (0.5, 1.5)),
    "outside": ((0.6, 2.5), (1.5, 4.0)),
    "crowded": ((1.5, 5.0), (1.5, 5.0)),
    "sub96": ((0.5, 1.5), (0.5, 1.5)),
    "full": ((0.3, 1.0), (0.3, 1.0)),
    "sides": ((0.3, 1.0), (0.3, 1.0)),
}
_BRIGHT_96 = ((3.0, 6.0), (3.0, 6.0))


def kind_names(wanted: Sequence[str] | None) -> list[str]:
    """Resolve names of groups and kinds.

    Parameters
    ----------
    wanted : sequence of str or None
        Groups or kinds; None for all.

    Returns
    -------
    list of str
        Kinds, in the order of the table.

    Raises
    ------
    SystemExit
        If a name is not known.
    """
    every = {kind: group for group, kinds in KINDS.items() for kind in kinds}
    if not wanted:
        return list(every)
    unknown = [name for name in wanted if name not in every and name not in KINDS]
    if unknown:
        raise SystemExit(
            f"Not a kind of scene: {', '.join(unknown)}. Groups: {', '.join(KINDS)}. "
            f"Kinds: {'; '.join(every)}."
        )
    return [kind for kind, group in every.items() if kind in wanted or group in wanted]


def _group(kind: str) -> str:
    return next(group for group, kinds in KINDS.items() if kind in kinds)


def _limits(kind: str) -> list[tuple[float, float]] | None:
    """Limits left, right and beyond column 950."""
    group = _group(kind)
    if group not in LIMITS:
        return None
    near, far = _BRIGHT_96 if kind == "bright, SUBSTRIP96" else LIMITS[group]
    return [near, near, far]


@lru_cache(maxsize=1)
def _library(seed: int, subarray: str) -> Any:
    from soss_photcal_steps.simulate import make_library

    return make_library(18, seed, subarray=subarray)


def _side_masks(truth: Any, subarray: str) -> list[np.ndarray]:
    share = truth.right_fraction
    inner = np.ones(share.shape, bool)
    inner[:, :_REFERENCE_BORDER] = inner[:, -_REFERENCE_BORDER:] = False
    if subarray != "SUBSTRIP96":
        inner[-_REFERENCE_BORDER:] = False
    if subarray == "FULL":
        inner[:_REFERENCE_BORDER] = False
    far = np.arange(share.shape[1]) > _FAR_COLUMN
    return [
        inner & (share < _TRANSITION),
        inner & (share > 1 - _TRANSITION),
        inner & far,
    ]


def _biases(subtracted: np.ndarray, truth: Any, masks: Sequence[np.ndarray]) -> list[float]:
    """Mean difference from the truth over its mean, per cent."""
    known = np.isfinite(subtracted)
    result = []
    for mask in masks:
        here = mask & known
        true = truth.background[here].astype(float)
        result.append(float(100 * (subtracted[here] - true).sum() / true.sum()))
    return result


def _model(scene: Any) -> Any:
    """Make a data model with the header of a simulated file."""
    from stdatamodels.jwst import datamodels

    from soss_photcal_steps.simulate.write import write_rateints

    with tempfile.TemporaryDirectory() as folder:
        path = write_rateints(scene, Path(folder) / "jw01_nis_rateints.fits", last=1)
        with datamodels.CubeModel(path) as pattern:
            model = datamodels.CubeModel()
            model.update(pattern)
    model.data, model.err, model.dq = scene.sci, scene.err, scene.dq
    model.meta.exposure.integration_end = len(scene.sci)
    return model


def _library_model(library: Any, filter_name: str) -> Any:
    from stdatamodels.jwst import datamodels

    from soss_photcal_steps.trace import subarray_rows

    model = datamodels.SossBkgModel(data=library.data)
    rows = subarray_rows(library.subarray)
    meta = model.meta
    meta.instrument.name, meta.instrument.filter = "NIRISS", filter_name
    meta.exposure.type, meta.subarray.name = "NIS_SOSS", library.subarray
    meta.subarray.xstart, meta.subarray.xsize = 1, library.data.shape[2]
    meta.subarray.ystart, meta.subarray.ysize = rows.start + 1, library.data.shape[1]
    return model


def _own_step(model: Any, library: Any) -> dict[str, Any] | None:
    """Run the step of this package; None if it gave up."""
    from soss_photcal_steps.background.background_step import SossTemplateBackgroundStep

    before = model.data[0].copy()
    step = SossTemplateBackgroundStep()
    step.override_bkg = library
    result = step.run(model)
    if result.meta.cal_step.bkg_subtract != "COMPLETE":
        return None
    record = result.meta.soss_photcal.instance["soss_template_bkg"]
    error = 100 * np.asarray(record["scale_errors"]) / np.asarray(record["scales"])
    return {
        "subtracted": before - result.data[0],
        "template": int(record["template"]),
        "error": [float(e) for e in error],
    }


class _Cube:
    """Arrays in memory as a series of integrations."""

    def __init__(self, scene: Any) -> None:
        self.shape = scene.sci.shape
        self._scene = scene

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Copy rates, and tell which pixels are bad."""
        return self._scene.sci[start:stop].copy(), (self._scene.dq[start:stop] & 1) != 0

    def errors(self, index: int) -> np.ndarray:
        """Give the errors of one integration."""
        return self._scene.err[index]


def _own_arrays(scene: Any, library: Any) -> dict[str, Any] | None:
    """Run the algorithm of this package without the step; None if it gave up."""
    from soss_photcal_steps.background.estimate import FitError
    from soss_photcal_steps.background.exposure import find_background
    from soss_photcal_steps.background.options import FitOptions
    from soss_photcal_steps.background.reference import trace_positions
    from soss_photcal_steps.trace import SUBSTRIP256_FIRST_ROW, subarray_rows

    params = scene.params
    span = subarray_rows(params.subarray)
    rows = np.arange(span.start, span.stop) - SUBSTRIP256_FIRST_ROW
    images = np.ascontiguousarray(library.cut(params.subarray))
    traces = trace_positions(params.pwcpos, params.filter, None)
    try:
        result = find_background([_Cube(scene)], rows, images, traces, FitOptions())
    except FitError:
        return None
    return {
        "subtracted": result.background,
        "template": int(result.fit.template),
        "error": [float(e) for e in 100 * result.errors / result.scales],
    }


def _jwst(model: Any, library: Any) -> dict[str, Any] | None:
    """Run jwst's own algorithm with its default parameters; the model is edited."""
    from jwst.background.background_sub_soss import subtract_soss_bkg

    before = model.data[0].copy()
    result = subtract_soss_bkg(model, library, 35.0, [25.0, 50.0])
    if result is None:
        return None
    return {"subtracted": before - result.data[0]}


def measure(
    kind: str, seed: int, route: str, with_jwst: bool, library_seed: int | None = None
) -> dict[str, Any]:
    """Measure one scene.

    Parameters
    ----------
    kind : str
        Kind of scene.
    seed : int
        Seed of the scene.
    route : {"step", "arrays"}
        Whether the whole step runs, or the algorithm on arrays.
    with_jwst : bool
        Whether jwst's algorithm runs too.
    library_seed : int, optional
        Seed of the library of templates; by default each scene has one of its own.

    Returns
    -------
    dict
        Biases in per cent, quoted errors in per cent, whether the template is the right one
        (None where there is no right one); by algorithm, None where it gave up.
    """
    from soss_photcal_steps.simulate import SceneParams, simulate
    from soss_photcal_steps.trace import PWCPOS_COMMANDED

    # Warnings about fill values and parameters of each run are not the benchmark's output.
    logging.disable(logging.WARNING)
    settings = dict(KINDS[_group(kind)][kind])
    # The pupil wheel comes to rest within about a tenth of a degree of its commanded angle.
    angle = PWCPOS_COMMANDED + np.random.default_rng([seed, 77]).uniform(-0.12, 0.12)
    params = SceneParams(seed=seed, pwcpos=angle, **settings)
    covered = "FULL" if params.subarray == "FULL" else "SUBSTRIP256"
    library = _library(1000 + seed if library_seed is None else library_seed, covered)
    scene = simulate(params, library)
    truth = scene.truth
    masks = _side_masks(truth, params.subarray)
    model = _model(scene) if route == "step" or with_jwst else None
    if route == "step":
        own = _own_step(model, _library_model(library, params.filter))
    else:
        own = _own_arrays(scene, library)
    runs = {"own": own}
    if with_jwst:
        runs["jwst"] = _jwst(model, _library_model(library, params.filter))
    result: dict[str, Any] = {"kind": kind, "seed": seed}
    for name, run in runs.items():
        if run is None:
            result[name] = None
            continue
        one: dict[str, Any] = {"bias": _biases(run["subtracted"], truth, masks)}
        if name == "own":
            one["error"] = run["error"]
            known = truth.template_index is not None
            one["right"] = run["template"] == truth.template_index if known else None
        result[name] = one
    return result


def _summary(kind: str, rows: Sequence[dict[str, Any]], name: str) -> list[str]:
    """Cells of one line of the table."""
    done = [row[name] for row in rows if row.get(name)]
    failed = sum(name in row and row[name] is None for row in rows)
    if not done:
        return [kind, name, *[""] * 7, str(failed)]
    bias = np.array([one["bias"] for one in done])
    limits = _limits(kind) if name == "own" else None
    cells = [kind, "this step" if name == "own" else "jwst"]
    for side in range(3):
        median, worst = np.median(np.abs(bias[:, side])), np.abs(bias[:, side]).max()
        text = f"{median:.2f} / {worst:.2f}"
        if limits is not None and (median > limits[side][0] or worst > limits[side][1]):
            text = f"**{text}**"
        cells.append(text)
    mean = bias.mean(axis=0)
    cells.append(" ".join(f"{m:+.2f}" for m in mean))
    right = [one["right"] for one in done if one.get("right") is not None]
    cells.append(f"{sum(right)} of {len(right)}" if right else "")
    if name == "own":
        ratio = _pulls(done)
        cells.append(f"{100 * np.mean(np.abs(ratio) < 1):.0f}")
        cells.append(f"{np.sqrt(np.mean(ratio**2)):.1f}")
    else:
        cells += ["", ""]
    cells.append(str(failed) if failed else "")
    return cells


def _pulls(done: Sequence[dict[str, Any]]) -> np.ndarray:
    """Bias over quoted error, left and right."""
    return np.array([np.array(one["bias"][:2]) / np.array(one["error"]) for one in done])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _header() -> list[str]:
    names = ["scene", "algorithm", *SIDES, "mean L R 950", "right template", "covered, %",
             "rms bias / error", "gave up"]  # fmt: skip
    return [_line(names), _line(["---"] * len(names))]


def _totals(results: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    every = [row["own"] for rows in results.values() for row in rows if row.get("own")]
    if not every:
        return
    pulls = _pulls(every)
    share = 100 * np.mean(np.abs(pulls) < 1)
    lowest = min(
        (100 * np.mean(np.abs(_pulls([row["own"] for row in rows if row.get("own")])) < 1), kind)
        for kind, rows in results.items()
        if any(row.get("own") for row in rows)
    )
    yield (
        f"Quoted errors cover the truth in {share:.0f} per cent of {pulls.size} cases; "
        f"lowest kind: {lowest[0]:.0f} ({lowest[1]})."
    )
    plain = [
        row["own"]["right"]
        for kind, rows in results.items()
        if _group(kind) != "crowded"
        for row in rows
        if row.get("own") and row["own"]["right"] is not None
    ]
    if plain:
        yield (
            f"Right template where the truth is in the library and the field is not crowded: "
            f"{sum(plain)} of {len(plain)} ({100 * np.mean(plain):.1f} per cent)."
        )
    for name, title in (("own", "this step"), ("jwst", "jwst")):
        biases = [row[name]["bias"] for rows in results.values() for row in rows if row.get(name)]
        failed = sum(name in r and r[name] is None for rows in results.values() for r in rows)
        if biases:
            median = np.median(np.abs(biases), axis=0)
            yield (
                f"All scenes, {title}: median |bias| {median[0]:.2f} left, {median[1]:.2f} right, "
                f"{median[2]:.2f} beyond column 950; gave up {failed} times."
            )


def _group_lines(results: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Summarise the groups that have several kinds with the same limits."""
    for group in ("wings", "outside", "crowded"):
        kinds = [kind for kind in KINDS[group] if kind in results]
        if len(kinds) < 2:
            continue
        rows = [row for kind in kinds for row in results[kind]]
        for name in ("own", "jwst"):
            if any(name in row for row in rows):
                cells = _summary(kinds[0], rows, name)
                yield _line([f"all of {group}", *cells[1:]])


def run_accuracy(
    kinds: Sequence[str],
    seeds: Sequence[int],
    workers: int,
    *,
    route: str = "step",
    with_jwst: bool = True,
    library_seed: int | None = None,
    store: Path | None = None,
    again: bool = False,
) -> None:
    """Measure, and print a Markdown table line by line.

    Parameters
    ----------
    kinds : sequence of str
        Kinds of scenes.
    seeds : sequence of int
        Seeds of each kind.
    workers : int
        Processes.
    route : {"step", "arrays"}, optional
        Whether the whole step runs, or the algorithm on arrays.
    with_jwst : bool, optional
        Whether jwst's algorithm runs too.
    library_seed : int, optional
        Seed of the library of templates; by default each scene has one of its own.
    store : Path, optional
        JSON file that keeps the results of each kind; those in it are not measured again.
    again : bool, optional
        Measure all the same.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    kept: dict[str, list[dict[str, Any]]] = {}
    if store is not None and store.exists() and not again:
        kept = json.loads(store.read_text())
    results: dict[str, list[dict[str, Any]]] = {}
    print("|bias| of the subtracted background, per cent: median / worst; "
          f"{len(seeds)} scenes of each kind.  Over its limit: bold.\n")  # fmt: skip
    print("\n".join(_header()), flush=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for kind in kinds:
            rows = kept.get(kind, [])
            wanted = set(seeds) - {row["seed"] for row in rows}
            n = len(wanted)
            rows = [row for row in rows if row["seed"] in seeds]
            rows += pool.map(
                measure, [kind] * n, sorted(wanted), [route] * n, [with_jwst] * n,
                [library_seed] * n,
            )  # fmt: skip
            results[kind] = sorted(rows, key=lambda row: row["seed"])
            for name in ("own", "jwst"):
                if any(name in row for row in rows):
                    print(_line(_summary(kind, rows, name)), flush=True)
            if store is not None:
                kept[kind] = results[kind]
                store.write_text(json.dumps(kept, indent=1))
    for line in _group_lines(results):
        print(line)
    print()
    for line in _totals(results):
        print(f"* {line}")
