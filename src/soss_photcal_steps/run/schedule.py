"""Who does which piece of work when: workers of this machine, or a Dask cluster."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Protocol

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.run.limits import one_thread
from soss_photcal_steps.run.work import Outcome, Task, perform
from soss_photcal_steps.run.worker import do_work, start_worker, warm_up

__all__ = ["DaskPool", "LocalPool", "Pool", "do_all"]

# How long to wait for a Dask scheduler, and for its first worker, seconds.
_TIMEOUT = 30

Started = Callable[[Task], None]
Does = Callable[[Task], Outcome]


class Pool(Protocol):
    """Something that has work done."""

    def work(self, tasks: Sequence[Task], started: Started) -> Iterator[tuple[Task, Outcome]]:
        """Have work done, and give what is done as it is done.

        Parameters
        ----------
        tasks : sequence of Task
            The work.
        started : callable
            Called with each task when it begins, where that is known.

        Yields
        ------
        task : Task
            A piece of work.
        outcome : Outcome
            What came of it.
        """
        ...

    def work_alone(self, tasks: Sequence[Task], started: Started) -> Iterator[tuple[Task, Outcome]]:
        """Have work done one after the other, each with all the memory that there is.

        Parameters
        ----------
        tasks : sequence of Task
            The work.
        started : callable
            As above.

        Yields
        ------
        task : Task
            A piece of work.
        outcome : Outcome
            What came of it.
        """
        ...


def _died(task: Task) -> Outcome:
    why = "its worker process ended, killed or out of memory."
    return Outcome(task.name, "failed", reason=why, cause="died")


class _Slot:
    """One worker process.  Each has an executor of its own, so that its end hits no other."""

    def __init__(self, memory: float, log: str, does: Does, warm: Callable[[], None]) -> None:
        self._does = does
        context = get_context("spawn")
        reader, self._writer = context.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(
            1, mp_context=context, initializer=start_worker, initargs=(reader, memory, log)
        )
        with one_thread():
            # The process is started here; its libraries are loaded while the first work is found.
            self.pool.submit(warm)
        reader.close()

    def submit(self, task: Task) -> Future[Outcome]:
        with one_thread():
            return self.pool.submit(do_work, self._does, task)

    def close(self, *, now: bool = False) -> None:
        """End the process: when it has nothing left to do, or at once."""
        if now:
            # The worker sees the end of this pipe and stops, whatever it is doing.
            self._writer.close()
        self.pool.shutdown(wait=True, cancel_futures=True)
        self._writer.close()


class LocalPool:
    """Worker processes of this machine.

    A worker has its own executor of ``concurrent.futures`` with one process, started afresh
    ("spawn").  So where one is killed, it is known which work it had, and the others go on.

    Parameters
    ----------
    workers : int
        Number of processes.
    memory : float
        What each may take, bytes.
    log : str
        File for what they write to the standard output and error.
    does : callable, optional
        What does a piece of work, and does not raise.
    warm : callable, optional
        What a process is to load before it has any.
    """

    def __init__(
        self,
        workers: int,
        memory: float,
        log: str,
        *,
        does: Does = perform,
        warm: Callable[[], None] = warm_up,
    ) -> None:
        self._workers, self._memory, self._log = workers, memory, log
        self._does, self._warm = does, warm
        self._slots: list[_Slot] = []

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # All are told before one is waited for.
        for slot in self._slots:
            slot.pool.shutdown(wait=False, cancel_futures=True)
        for slot in self._slots:
            slot.close(now=kind is not None)
        self._slots = []

    def start(self) -> None:
        """Start the processes, which load their libraries."""
        missing = self._workers - len(self._slots)
        self._slots += [self._slot() for _ in range(missing)]

    def _slot(self) -> _Slot:
        return _Slot(self._memory, self._log, self._does, self._warm)

    def work(self, tasks: Sequence[Task], started: Started) -> Iterator[tuple[Task, Outcome]]:
        """Have work done; see `Pool.work`.

        Parameters
        ----------
        tasks : sequence of Task
            The work, begun in this order.
        started : callable
            Called with each task when it begins.

        Yields
        ------
        task : Task
            A piece of work.
        outcome : Outcome
            What came of it.
        """
        self.start()
        waiting, idle = deque(tasks), list(reversed(self._slots))
        running: dict[Future[Outcome], tuple[_Slot, Task]] = {}
        while waiting or running:
            while waiting and idle:
                slot, task = idle.pop(), waiting.popleft()
                try:
                    future = slot.submit(task)
                except BrokenProcessPool:
                    # It was killed while it had nothing to do.
                    future = self._replace(slot).submit(task)
                    slot = self._slots[-1]
                running[future] = (slot, task)
                started(task)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                slot, task = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    outcome, slot = _died(task), self._replace(slot)
                idle.append(slot)
                yield task, outcome

    def _replace(self, slot: _Slot) -> _Slot:
        self._slots.remove(slot)
        slot.close()
        self._slots.append(self._slot())
        return self._slots[-1]

    def work_alone(self, tasks: Sequence[Task], started: Started) -> Iterator[tuple[Task, Outcome]]:
        """Have work done one after the other by one process with the memory of all.

        Parameters
        ----------
        tasks : sequence of Task
            The work.
        started : callable
            Called with each task when it begins.

        Yields
        ------
        task : Task
            A piece of work.
        outcome : Outcome
            What came of it.
        """
        # The others would keep the memory that they have.
        self.__exit__(None, None, None)
        memory = self._workers * self._memory
        with LocalPool(1, memory, self._log, does=self._does, warm=self._warm) as pool:
            yield from pool.work(tasks, started)


class DaskPool:
    """The workers of a Dask cluster.

    Parameters
    ----------
    address : str
        Address of its scheduler, such as ``tcp://host:8786``.

    Raises
    ------
    SossInputError
        If dask.distributed is not installed, or no scheduler or no worker answers.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError as error:
            raise SossInputError(
                "--scheduler needs dask.distributed: pip install 'soss_photcal_steps[dask]'."
            ) from error
        self._distributed = distributed
        try:
            self._client = distributed.Client(address, timeout=_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SossInputError(f"No Dask scheduler answers at {address}.") from error
        try:
            self._client.wait_for_workers(1, timeout=_TIMEOUT)
        except TimeoutError as error:
            self._client.close()
            raise SossInputError(f"The Dask scheduler at {address} has no workers.") from error

    def __enter__(self) -> DaskPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    @property
    def workers(self) -> Mapping[str, Mapping[str, Any]]:
        """The workers as Dask describes them, by address."""
        found: Mapping[str, Mapping[str, Any]] = self._client.scheduler_info(n_workers=-1)[
            "workers"
        ]
        return found

    def work(self, tasks: Sequence[Task], started: Started) -> Iterator[tuple[Task, Outcome]]:
        """Have work done; see `Pool.work`.

        Parameters
        ----------
        tasks : sequence of Task
            The work.
        started : callable
            Called with each task when it is handed to the scheduler.

        Yields
        ------
        task : Task
            A piece of work.
        outcome : Outcome
            What came of it.
        """
        run = uuid.uuid4().hex
        futures: dict[Any, Task] = {}
        try:
            for number, task in enumerate(tasks):
                # A key of its own for each run; Dask must not give back what it remembers.
                key = f"soss-photcal-{run}-{number}"
                futures[self._client.submit(perform, task, key=key, pure=False)] = task
                started(task)
            loop = self._client.loop
            for future in self._distributed.as_completed(list(futures), loop=loop):
                task = futures[future]
                try:
                    outcome = future.result()
                except self._distributed.KilledWorker:
                    outcome = _died(task)
                except Exception as error:  # noqa: BLE001 (what Dask raises for its own reasons)
                    why = f"Dask could not do it: {reason(error)}."
                    outcome = Outcome(task.name, "failed", reason=why, cause="died")
                yield task, outcome
        finally:
            for future in futures:
                if not future.done():
                    future.cancel()

    def work_alone(self, tasks: Sequence[Task], started: Started) -> Iterator[tuple[Task, Outcome]]:
        """Have work done one after the other.

        Parameters
        ----------
        tasks : sequence of Task
            The work.
        started : callable
            As above.

        Yields
        ------
        task : Task
            A piece of work.
        outcome : Outcome
            What came of it.
        """
        for task in tasks:
            yield from self.work([task], started)


def do_all(
    pool: Pool,
    tasks: Sequence[Task],
    started: Started = lambda task: None,
    done: Callable[[Task, Outcome, bool], None] = lambda task, outcome, last: None,
) -> dict[str, Outcome]:
    """Have work done, and tried once more where that can help.

    What failed because the system refused something is tried again when all else is done;
    what ended its worker or had too little memory, then by itself, one after the other.

    Parameters
    ----------
    pool : Pool
        Who does it.
    tasks : sequence of Task
        The work.
    started : callable, optional
        Called with each task when it begins.
    done : callable, optional
        Called with each task, its outcome, and whether that is the last word.

    Returns
    -------
    dict of str to Outcome
        By the label of the task, in the order of the tasks.
    """
    results: dict[str, Outcome] = {}
    system: list[Task] = []
    alone: list[Task] = []
    for task, outcome in pool.work(tasks, started):
        results[task.label] = outcome
        if outcome.again:
            (system if outcome.cause == "system" else alone).append(task)
        done(task, outcome, not outcome.again)
    for again, work in ((system, pool.work), (alone, pool.work_alone)):
        if not again:
            continue
        for task, second in work(_in_order(again, tasks), started):
            first = results[task.label]
            results[task.label] = replace(
                second, tries=2, seconds=first.seconds + second.seconds,
                peak=max(first.peak, second.peak),
            )  # fmt: skip
            done(task, results[task.label], True)
    return {task.label: results[task.label] for task in tasks}


def _in_order(some: Sequence[Task], tasks: Sequence[Task]) -> list[Task]:
    return [task for task in tasks if task in some]
