"""A whole run: plan, workers, state, combination, table."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.leftovers import remove_leftovers
from soss_photcal_steps.photcal.state import State
from soss_photcal_steps.run.limits import (
    available_memory,
    parse_memory,
    say_memory,
    share_memory,
)
from soss_photcal_steps.run.lock import folder_lock
from soss_photcal_steps.run.plan import Plan, Unit, make_plan
from soss_photcal_steps.run.progress import Progress, outcome_table
from soss_photcal_steps.run.schedule import DaskPool, LocalPool, do_all
from soss_photcal_steps.run.work import (
    Outcome,
    Settings,
    Task,
    log_path,
    main_state,
    sent_environment,
    unit_state,
)

__all__ = ["parameter_lines", "run_campaign"]


def run_campaign(
    given: Sequence[str],
    *,
    output_dir: str = ".",
    workers: int | None = None,
    scheduler: str | None = None,
    memory_per_worker: str | None = None,
    until: str | None = None,
    parameters: Sequence[str] = (),
    config_file: str | None = None,
    name: str | None = None,
    force: bool = False,
) -> tuple[int, str]:
    """Bring many observations to spectra, ratios, or a photom file.

    Parameters
    ----------
    given : sequence of str
        An association, or exposures and text files that list some.
    output_dir : str, optional
        Folder for the products.
    workers : int, optional
        Processes on this machine; by default one for each processor.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers are used instead.
    memory_per_worker : str, optional
        What each process may take, such as ``4G``.
    until : {"spectra", "ratios", "photom"}, optional
        How far to go.
    parameters : sequence of str, optional
        Parameters of ``soss_photcal``, each ``NAME=VALUE``.
    config_file : str, optional
        Parameter file of ``soss_photcal``.
    name : str, optional
        What state and logs of a list are named after.
    force : bool, optional
        Make everything again.

    Returns
    -------
    status : int
        0 if all was done, 1 if something failed.
    text : str
        The table, and what was made.

    Raises
    ------
    SossInputError
        If the input or a parameter cannot be used, or another run is at work in the folder.
    """
    lines = parameter_lines(parameters)
    asked = parse_memory(memory_per_worker) if memory_per_worker else None
    if config_file is not None and not os.path.isfile(config_file):
        raise SossInputError(f"The file {config_file} does not exist.")
    plan = make_plan(given, until, name)
    folder = os.path.abspath(output_dir)
    _make_folder(folder)
    settings = Settings(
        plan.name, folder, plan.until,
        config_file=os.path.abspath(config_file) if config_file else None,
        environment=sent_environment() if scheduler else {},
        working_directory=os.getcwd(),
    )  # fmt: skip
    progress = Progress(len(plan.units))
    with folder_lock(folder):
        for one in remove_leftovers(folder):
            progress.say(f"Removed {one}, which a run that was killed had left.")
        _begin(settings, force)
        os.makedirs(os.path.dirname(log_path(settings, "any")), exist_ok=True)
        try:
            with _pool(plan, settings, workers, scheduler, asked, progress) as pool:
                return _work(pool, plan, settings, lines, progress)
        finally:
            progress.close()
            _tidy(settings)
            # Of workers that were killed on the way.
            remove_leftovers(folder)


def _work(
    pool: Any, plan: Plan, settings: Settings, lines: list[str], progress: Progress
) -> tuple[int, str]:
    """Have all done, and say what came of it."""
    prepare = Task("prepare", "parameters", settings, more=(plan.first_rate, lines))
    ready = do_all(pool, [prepare])[prepare.label]
    if ready.status == "failed":
        raise SossInputError(ready.reason)
    settings = replace(settings, config=ready.value)
    outcomes: dict[str, Outcome] = {}
    tasks = []
    for unit in plan.units:
        one = unit.observation
        if _nothing_to_do(unit, plan.until):
            outcomes[unit.label] = Outcome(one.name, "given", one.files)
            progress.done(Task("given", one.name, settings, unit), outcomes[unit.label], True)
        else:
            title = f"{one.name}, {one.target}" if one.target else one.name
            tasks.append(Task("observation", title, settings, unit))
    state = State(main_state(settings))

    def done(task: Task, outcome: Outcome, last: bool) -> None:
        if task.unit is not None:
            outcomes[task.label] = outcome
            _take_over(state, unit_state(settings, task.label))
        progress.done(task, outcome, last)

    outcomes.update(do_all(pool, tasks, progress.started, done))
    failed = sum(one.status == "failed" for one in outcomes.values()) + len(plan.failures)
    text = [outcome_table(plan.units, outcomes, plan.failures)]
    if plan.until == "photom":
        files = {unit.observation.files: outcomes[unit.label] for unit in plan.units}
        last = Task("finish", "combination and report", settings, more=(plan.association, files))
        progress.say("Combining.")
        made = do_all(pool, [last])[last.label]
        failed += made.status == "failed"
        text += ["", *_say_end(made, settings)]
    elif failed:
        text += ["", f"{failed} failed; logs are in {os.path.dirname(log_path(settings, 'x'))}."]
    return int(failed > 0), "\n".join(text)


def _say_end(made: Outcome, settings: Settings) -> list[str]:
    if made.status == "failed":
        return [f"Nothing was combined: {made.reason}", f"Log: {log_path(settings, 'finish')}"]
    lines = [f"{title}: {path}" for title, path in zip(_MADE, made.products, strict=False)]
    lines[1] += f" ({made.value})"
    return lines


_MADE = ("Correction", "New photom file", "Report")


def _nothing_to_do(unit: Unit, until: str) -> bool:
    one = unit.observation
    if one.kind == "ratio":
        return True
    return one.kind == "x1d" and (until == "spectra" or one.exptype == "test")


@contextmanager
def _pool(
    plan: Plan,
    settings: Settings,
    workers: int | None,
    scheduler: str | None,
    asked: float | None,
    progress: Progress,
) -> Iterator[Any]:
    """Start the workers."""
    count = len(plan.units)
    if scheduler:
        with DaskPool(scheduler) as cluster:
            threads = sum(int(one["nthreads"]) for one in cluster.workers.values())
            progress.say(f"{count} observation(s) for {len(cluster.workers)} Dask worker(s).")
            if threads > len(cluster.workers):
                progress.say(
                    "Some Dask workers have several threads, of which one works at a time; start "
                    "more workers with --nthreads 1 instead."
                )
            yield cluster
        return
    wanted = min(workers or _processors(), count)
    started, each, note = share_memory(wanted, available_memory(), plan.memory, asked)
    if note:
        progress.say(f"Note: {note}.")
    progress.say(f"{count} observation(s), {started} worker(s) with up to {say_memory(each)} each.")
    with LocalPool(started, each, log_path(settings, "workers")) as pool:
        pool.start()
        yield pool


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def parameter_lines(parameters: Sequence[str]) -> list[str]:
    """Make a configuration of parameters as they stand on the command line.

    Parameters
    ----------
    parameters : sequence of str
        Each ``NAME=VALUE``, the name with points, such as ``steps.soss_ratio.calspec_dir``.

    Returns
    -------
    list of str
        Lines of a file of configobj.

    Raises
    ------
    SossInputError
        If one has no such form.
    """
    tree: dict[str, Any] = {}
    for item in parameters:
        path, equals, value = item.removeprefix("--").partition("=")
        names = path.strip().split(".")
        if not equals or not all(part.isidentifier() for part in names):
            raise SossInputError(
                f"--set needs NAME=VALUE, as in steps.soss_ratio.calspec_dir=calspec, not {item!r}."
            )
        if "\n" in value:
            raise SossInputError(f"The value of {path} has several lines.")
        place = tree
        for part in names[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise SossInputError(f"{path} cannot be set beside {part}.")
        place[names[-1]] = value
    return _section(tree, 1)


def _section(tree: Mapping[str, Any], depth: int) -> list[str]:
    """Write a configuration; values come before sections, which would take them in."""
    lines = [
        f"{key} = {value if value.strip() else chr(39) * 2}"
        for key, value in tree.items()
        if isinstance(value, str)
    ]
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{'[' * depth}{key}{']' * depth}", *_section(value, depth + 1)]
    return lines


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise SossInputError(f"{folder} cannot be made: {error.strerror}.") from error


def _begin(settings: Settings, force: bool) -> None:
    """Take over what a run that was broken off has left, or forget all that was made."""
    path = main_state(settings)
    rest = sorted(glob.glob(glob.escape(unit_state(settings, "")[: -len(".json")]) + "*.json"))
    if force:
        for old in (*rest, path):
            if os.path.exists(old):
                os.remove(old)
        return
    state = State(path)
    for old in rest:
        _take_over(state, old)


def _take_over(state: State, path: str) -> None:
    """Put the state of one observation into that of the run."""
    if not os.path.exists(path):
        return
    state.take(State(path))
    state.save()
    os.remove(path)


def _tidy(settings: Settings) -> None:
    """Remove the workers' own log where nothing was written to it."""
    path = log_path(settings, "workers")
    if os.path.exists(path) and os.path.getsize(path) == 0:
        os.remove(path)
