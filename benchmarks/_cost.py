"""Wall time, CPU time and peak memory of the background step, jwst's own, and plain copies.

Every measurement is a process of its own, ``python _cost.py TASK FILE LIBRARY FOLDER WARM``,
which does the same on the short file WARM first: that takes the imports and the schemas of the
data models, which are reported by themselves.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["TASKS", "environments_of", "measure_length", "run_cost"]

#: What is measured, and what it is called in the table.
TASKS = {
    "own-pipeline": "this step in a pipeline (model edited in place)",
    "jwst-pipeline": "jwst's step in a pipeline (model edited in place)",
    "own-memory": "this step alone, model in, model out",
    "jwst-memory": "jwst's step alone, model in, model out",
    "own-file": "this step, file to file",
    "jwst-file": "jwst's step, file to file",
    "open-save": "stdatamodels open and save",
    "mmap-copy": "memory-mapped copy by astropy",
    "copy": "plain copy of the file",
}
#: Pairs whose ratio of wall times is printed: slower, faster.
RATIOS = (
    ("jwst-pipeline", "own-pipeline"),
    ("jwst-memory", "own-memory"),
    ("jwst-file", "own-file"),
    ("own-file", "mmap-copy"),
    ("own-file", "copy"),
    ("open-save", "own-file"),
)
_LONG = 200
_SERVER_CONFIG = {
    "observatory": "jwst",
    "operational_context": "jwst_0000.pmap",
    "latest_context": "jwst_0000.pmap",
    "edit_context": "jwst_0000.pmap",
    "bad_files_list": [],
    "force_remote_mode": False,
    "last_synced": "2024-01-01 00:00:00",
}


def _step_class(name: str) -> Any:
    if name.startswith("own"):
        from soss_photcal_steps import SossTemplateBackgroundStep

        return SossTemplateBackgroundStep
    from jwst.background import BackgroundStep

    return BackgroundStep


def _load(path: str) -> Any:
    from stdatamodels.jwst import datamodels

    model = datamodels.open(path)
    for name in ("data", "err", "dq", "var_poisson", "var_rnoise"):
        array = getattr(model, name)
        # Read, so that no file access is left for the measured part.
        setattr(model, name, array.copy())
    return model


def _prepare(task: str, path: str, library: str, folder: str) -> Callable[[], Any]:
    """Import and load all that is not to be measured, and give what is."""
    name = Path(path).name
    target = os.path.join(folder, name.replace("_rate", "_copy"))
    if task == "copy":
        return lambda: shutil.copyfile(path, target)
    if task == "mmap-copy":
        from astropy.io import fits

        def copy() -> None:
            # Unsigned integers, as DQ has, cannot be scaled in a memory map.
            with fits.open(path, memmap=True, do_not_scale_image_data=True) as hdus:
                hdus.writeto(target)

        return copy
    if task == "open-save":
        from stdatamodels.jwst import datamodels

        def save() -> None:
            with datamodels.open(path) as model:
                model.save(target)

        return save
    step_class = _step_class(task)
    if task.endswith("file"):
        return lambda: step_class.call(
            path, override_bkg=library, save_results=True, output_dir=folder
        )
    model = _load(path)
    if task.endswith("memory"):
        return lambda: step_class.call(model, override_bkg=library)
    from jwst.stpipe import Pipeline

    step = step_class(parent=Pipeline())
    step.override_bkg = library
    return lambda: step.run(model)


def _peak() -> float:
    """Peak resident memory of this process, MB."""
    try:
        # Unlike ru_maxrss, this does not count what the parent held before the start.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(x.split()[1]) for x in lines if x.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _child(task: str, path: str, library: str, folder: str, warm: str) -> None:
    import logging

    logging.disable(logging.CRITICAL)
    start = time.perf_counter()
    warming = os.path.join(folder, "warm")
    os.mkdir(warming)
    _prepare(task, warm, library, warming)()
    first = time.perf_counter() - start
    run = _prepare(task, path, library, folder)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = {"wall": wall, "cpu": cpu, "peak": _peak(), "first": first}
    print("RESULT " + json.dumps(result))


def _make(kind: str, path: str, library: str) -> None:
    """Write a file of `kind` integrations of SUBSTRIP256, or ``full``, or the library of either."""
    from soss_photcal_steps.simulate import SceneParams, make_exposure, make_library
    from soss_photcal_steps.simulate.write import write_library, write_rateints

    subarray = "FULL" if kind == "full" else "SUBSTRIP256"
    templates = make_library(18, 5, subarray=subarray)
    if not os.path.exists(library):
        write_library(templates, library)
    nints = 1 if kind == "full" else int(kind)
    params = SceneParams(seed=1, star="mid", subarray=subarray, nints=nints)
    write_rateints(make_exposure(params, templates), path)


def _process(arguments: Sequence[str], environment: dict[str, str]) -> str:
    command = [sys.executable, os.path.abspath(__file__), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def environments_of(folder: Path) -> dict[bool, dict[str, str]]:
    """Give environments without CRDS, and with the small file of it that jwst's step needs.

    Parameters
    ----------
    folder : Path
        Where the small file goes.

    Returns
    -------
    dict of bool to dict
        By whether it has CRDS.
    """
    plain = {k: v for k, v in os.environ.items() if not k.startswith("CRDS_")}
    plain["STPIPE_DISABLE_CRDS_STEPPARS"] = "true"
    plain["OPENBLAS_NUM_THREADS"] = "1"
    config = folder / "crds" / "config" / "jwst" / "server_config"
    config.parent.mkdir(parents=True)
    config.write_text(repr(_SERVER_CONFIG))
    return {False: plain, True: {**plain, "CRDS_PATH": str(folder / "crds")}}


def _needed_memory(task: str, size: int) -> float:
    """Rough need of memory for a file of `size` bytes, bytes."""
    factor = {"own-file": 0.0, "copy": 0.0, "mmap-copy": 1.0, "open-save": 1.5,
              "own-pipeline": 1.3, "own-memory": 2.5, "jwst-pipeline": 2.5, "jwst-memory": 3.5,
              "jwst-file": 2.5}  # fmt: skip
    return factor[task] * size + 1e9


def _free_memory() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(float(x.split()[1]) for x in lines if x.startswith("MemAvailable")) * 1024


def _measure(
    path: Path,
    library: Path,
    warm: Path,
    folder: Path,
    repeats: int,
    environments: dict[bool, dict[str, str]],
) -> dict[str, list[dict[str, float]]]:
    results: dict[str, list[dict[str, float]]] = {task: [] for task in TASKS}
    size = path.stat().st_size
    for round_ in range(repeats):
        for task in TASKS:
            if "jwst" in task and size > 2e9 and round_:
                continue
            if _needed_memory(task, size) > _free_memory():
                continue
            output = folder / "output"
            output.mkdir()
            # Nobody shall wait for the disk on behalf of the one before.
            os.sync()
            with path.open("rb") as stream:
                while stream.read(1 << 24):
                    pass
            text = _process(
                [task, str(path), str(library), str(output), str(warm)],
                environments[task.startswith("jwst")],
            )
            shutil.rmtree(output)
            line = next(x for x in text.splitlines() if x.startswith("RESULT "))
            results[task].append(json.loads(line[7:]))
    return results


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _print(title: str, size: int, results: dict[str, list[dict[str, float]]]) -> None:
    print(f"### {title} integration(s), {size / 1e6:.0f} MB\n")
    print("| what | wall, s | slowest, s | CPU, s | peak, MB | first short file, s | runs |")
    print("|---|---|---|---|---|---|---|")
    middle: dict[str, float] = {}
    for task, name in TASKS.items():
        runs = results[task]
        if not runs:
            print(f"| {name} | not enough memory | | | | | 0 |")
            continue
        column = {key: [run[key] for run in runs] for key in runs[0]}
        middle[task] = _median(column["wall"])
        print(
            f"| {name} | {middle[task]:.2f} | {max(column['wall']):.2f} | "
            f"{_median(column['cpu']):.2f} | {max(column['peak']):.0f} | "
            f"{_median(column['first']):.1f} | {len(runs)} |"
        )
    print()
    for slow, fast in RATIOS:
        if slow in middle and fast in middle:
            print(f"* {TASKS[slow]} / {TASKS[fast]}: {middle[slow] / middle[fast]:.1f}")
    print(flush=True)


def run_cost(
    lengths: Sequence[int],
    *,
    full: bool = True,
    repeats: int | None = None,
    folder: Path | None = None,
) -> None:
    """Measure, and print a Markdown table for each length.

    Parameters
    ----------
    lengths : sequence of int
        Integrations of SUBSTRIP256.
    full : bool, optional
        Whether one integration of FULL is measured too.
    repeats : int, optional
        Runs of each; by default 3, of files with 200 integrations and more 2, and 1 of jwst's.
    folder : Path, optional
        Where the files go; a temporary folder by default.

    Raises
    ------
    SystemExit
        If there is not enough space on the disk.
    """
    largest = max([*(n * 1.05e7 for n in lengths), 9e8 if full else 0])
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="soss-cost-") as name:
        place = Path(name)
        free = shutil.disk_usage(place).free
        if free < 2.5 * largest + 2e9:
            need = (2.5 * largest + 2e9) / 1e9
            raise SystemExit(f"{place} has {free / 1e9:.1f} GB free, {need:.1f} are needed.")
        environments = environments_of(place)
        print(
            "Median of the runs, each in a process of its own, on 18 templates; the input is in "
            "the page cache.  The first short file, with all imports, is not in the wall time.\n"
        )
        for kind in [*(str(n) for n in lengths), *(["full"] if full else [])]:
            long = kind != "full" and int(kind) >= _LONG
            size, results = _measure_kind(kind, place, repeats or (2 if long else 3), environments)
            title = "FULL, 1" if kind == "full" else f"SUBSTRIP256, {kind}"
            _print(title, size, results)


def _measure_kind(
    kind: str, place: Path, repeats: int, environments: dict[bool, dict[str, str]]
) -> tuple[int, dict[str, list[dict[str, float]]]]:
    """Make a file, measure everything on it, and remove it; give its size, too."""
    path = place / "jw01512001001_03102_00001_nis_rateints.fits"
    library = place / ("library_full.fits" if kind == "full" else "library.fits")
    _process(["make", kind, str(path), str(library)], environments[False])
    warm = path
    if kind not in ("1", "full"):
        warm = place / "jw01512001001_03102_00002_nis_rateints.fits"
        _process(["make", "1", str(warm), str(library)], environments[False])
    results = _measure(path, library, warm, place, repeats, environments)
    size = path.stat().st_size
    path.unlink()
    return size, results


def measure_length(
    nints: int, folder: Path, repeats: int, environments: dict[bool, dict[str, str]]
) -> dict[str, dict[str, float]]:
    """Measure every task on a file of SUBSTRIP256.

    Parameters
    ----------
    nints : int
        Integrations.
    folder : Path
        Where the files go.
    repeats : int
        Runs of each.
    environments : dict
        What `environments_of` gave.

    Returns
    -------
    dict of str to dict
        By the name of the task: medians of wall and cpu (s), peak (MB), and first (s).
    """
    _, results = _measure_kind(str(nints), folder, repeats, environments)
    return {
        TASKS[task]: {key: _median([run[key] for run in runs]) for key in runs[0]}
        for task, runs in results.items()
        if runs
    }


if __name__ == "__main__":
    if sys.argv[1] == "make":
        _make(*sys.argv[2:5])
    else:
        _child(*sys.argv[1:6])
