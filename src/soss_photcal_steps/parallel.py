"""Work on several processors, with results that do not depend on their number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

__all__ = ["background_call", "default_workers", "ordered_map"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Memory is the limit of all that is done here; more threads wait for it.
_MOST_WORKERS = 4


def default_workers() -> int:
    """Tell how many threads to use.

    Returns
    -------
    int
        The processors that this process may use, up to 4; fewer if ``OMP_NUM_THREADS`` says
        so, as where many processes share a machine.
    """
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        available = os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if limit.isdigit() and int(limit) > 0:
        available = min(available, int(limit))
    return max(1, min(available, _MOST_WORKERS))


def ordered_map(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None = None
) -> Iterator[_Result]:
    """Apply a function to items in threads, and give the results in their order.

    Only as many items are worked on or wait as there are threads and one more, so that memory
    does not grow with their number.

    Parameters
    ----------
    function : callable
        Takes one item.  It must not depend on what other threads do.
    items : iterable
        The items.
    workers : int, optional
        Number of threads; by default `default_workers`.  With one, no thread is started.

    Yields
    ------
    object
        Result of each item.
    """
    workers = default_workers() if workers is None else workers
    if workers <= 1:
        yield from map(function, items)
        return
    pending: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def background_call(
    function: Callable[..., _Result], *args: Any, **kwargs: Any
) -> Iterator[Callable[[], _Result]]:
    """Call a function in another thread while something else is done.

    Parameters
    ----------
    function : callable
        The function.
    *args, **kwargs
        Its arguments.

    Yields
    ------
    callable
        Without arguments; it waits for the function, and returns its result or raises its
        error.  Where there is only one processor, the function is called only then.
    """
    if default_workers() <= 1:
        yield partial(function, *args, **kwargs)
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(function, *args, **kwargs).result
