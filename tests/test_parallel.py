"""Work on several processors."""

import os
import threading

import pytest

from soss_photcal_steps.parallel import background_call, default_workers, ordered_map


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(workers):
    """Whatever the number of threads, and however long each item takes, the order is kept."""
    gate = threading.Event()

    def square(i):
        if i == 0 and workers > 1:
            gate.wait(5)
        if i == 1:
            gate.set()
        return i * i

    assert list(ordered_map(square, range(20), workers)) == [i * i for i in range(20)]


def test_no_more_items_are_taken_than_can_be_worked_on():
    """With two threads at most three items are taken before the first result is used."""
    taken = []

    def items():
        for i in range(50):
            taken.append(i)
            yield i

    results = ordered_map(lambda i: i, items(), 2)
    assert next(results) == 0
    assert len(taken) == 3
    results.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_a_thread_reaches_the_caller(workers):
    """The error of item 2 is raised after the results of items 0 and 1."""

    def fail(i):
        if i == 2:
            raise ValueError("item 2")
        return i

    results = ordered_map(fail, range(9), workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="item 2"):
        next(results)


@pytest.mark.parametrize(("text", "most"), [("1", 1), ("2,1", 2), ("", 4), ("many", 4), ("0", 4)])
def test_the_user_can_limit_the_threads(monkeypatch, text, most):
    """OMP_NUM_THREADS limits the threads; what is no number there is ignored."""
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    assert default_workers() == most


@pytest.mark.parametrize("processors", [1, 2])
def test_a_call_in_the_background_gives_result_or_error(monkeypatch, processors):
    """The result, or the error, is that of the function, on one processor or two."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(processors), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with background_call(pow, 2, 5) as result:
        assert result() == 32
    with background_call(int, "x") as result, pytest.raises(ValueError, match="invalid literal"):
        result()
