"""Try damaged files one after the other, each in a folder of its own, and write down what came."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from damaging.judge import Verdict, judge
from damaging.mutations import Damage, damage_bytes, damage_cards, find_hdus
from damaging.subjects import _OUT, SUBJECTS, Subject, association_of

__all__ = ["LONGEST", "damage_of", "run_cases", "subject_of", "try_damage"]

#: A reader that takes longer than this, in seconds, hangs.
LONGEST = 20
_MEMORY = 6 * 2**30
# A message of more lines or characters is no sentence.
_LONGEST_MESSAGE = 3000


class _Hang(BaseException):
    """No ``except Exception`` stops it."""


def subject_of(seed: int, number: int) -> Subject:
    """Give the reader of a case."""
    weights = np.array([one.weight for one in SUBJECTS])
    rng = np.random.default_rng((seed, number))
    return SUBJECTS[int(rng.choice(len(SUBJECTS), p=weights / weights.sum()))]


def damage_of(seed: int, number: int, subject: Subject, good: bytes) -> Damage:
    """Give the damage of a case: the same for the same numbers and the same good file."""
    rng = np.random.default_rng((seed, number, 1))
    if subject.hostile is not None and rng.random() < 0.6:
        is_asdf = subject.target.endswith(".asdf")
        return subject.hostile(rng, good if is_asdf else good.decode())
    hdus = find_hdus(good) if subject.is_fits else []
    if hdus and rng.random() < 0.45:
        return damage_cards(rng, good, hdus)
    text = subject.target.endswith((".yaml", ".csv", ".json", ".ecsv"))
    return damage_bytes(rng, good, hdus, 64 if text else 65536)


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _listen() -> Iterator[list[str]]:
    listener = _Listener()
    logger = logging.getLogger("soss_photcal_steps")
    logger.addHandler(listener)
    try:
        yield listener.lines
    finally:
        logger.removeHandler(listener)


def _sums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _OUT not in path.relative_to(folder).parts
    }


def _prepare(subject: Subject, corpus: Path, folder: Path) -> bytes:
    """Put good files into an empty folder, and give the content of the target."""
    (folder / _OUT).mkdir(parents=True)
    (folder / "folder.fits").mkdir()
    for name in subject.others:
        shutil.copy(corpus / name, folder / name)
    if subject.target == "asn.json":
        return association_of(subject).encode()
    return (corpus / subject.target).read_bytes()


def _use(subject: Subject, folder: Path) -> tuple[dict[str, Any], list[str]]:
    with _listen() as lines, warnings.catch_warnings():
        # What astropy remarks is not what the package says.
        warnings.simplefilter("ignore")
        return subject.use(folder), lines


def try_damage(
    subject: Subject, damage: Damage, corpus: Path, good_results: dict[str, Any]
) -> Verdict:
    """Use a damaged file, and judge.

    Parameters
    ----------
    subject : Subject
        The reader.
    damage : Damage
        The damage.
    corpus : Path
        Folder of the good files.
    good_results : dict
        Results of good files by reader; filled.

    Returns
    -------
    Verdict
        What became of it.
    """
    from soss_photcal_steps.errors import SossInputError

    home = os.getcwd()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "case"
        good = _prepare(subject, corpus, folder)
        try:
            os.chdir(folder)
            if subject.name not in good_results:
                (folder / subject.target).write_bytes(good)
                good_results[subject.name] = _use(subject, folder)
                shutil.rmtree(folder / _OUT)
                (folder / _OUT).mkdir()
            (folder / subject.target).write_bytes(damage.content)
            given = _sums(folder)
            try:
                after, lines = _use(subject, folder)
            except SossInputError as error:
                verdict = _judge_refusal(str(error), folder)
            except _Hang:
                verdict = Verdict("other", f"longer than {LONGEST} s")
            except Exception as error:  # noqa: BLE001 (this is what is looked for)
                place = traceback.extract_tb(error.__traceback__)
                ours = [f for f in place if "soss_photcal_steps" in f.filename] or place
                verdict = Verdict(
                    "other", f"{type(error).__name__}: {str(error)[:150]} "
                    f"({Path(ours[-1].filename).name}:{ours[-1].lineno})",
                )  # fmt: skip
            else:
                before, known = good_results[subject.name]
                hdus = find_hdus(good) if subject.is_fits else []
                verdict = judge(
                    subject, damage, good, hdus, before, after,
                    [line for line in lines if line not in known],
                )  # fmt: skip
            if _sums(folder) != given:
                verdict = Verdict("other", "a file that was given was changed, or one was made")
            return verdict
        finally:
            os.chdir(home)


def _judge_refusal(message: str, folder: Path) -> Verdict:
    # A long name that was given is said as it is.
    short = message.replace("x" * 3000, "")
    if "\n" in short or not short.strip() or len(short) > _LONGEST_MESSAGE:
        return Verdict("other", f"not one sentence: {message[:300]!r}")
    # What fails leaves nothing, not even a part of a product.
    left = [path.name for path in (folder / _OUT).rglob("*")]
    if left:
        return Verdict("other", f"refused, but left {left}")
    return Verdict("refused", message)


def _no_network(*_args: Any, **_kwargs: Any) -> None:
    raise RuntimeError("the network was asked for")


def _ring(*_: Any) -> None:
    raise _Hang


def _work(seed: int, numbers: Sequence[int], corpus: Path, pipe: Any) -> None:
    """Try cases in a process of its own, which a crash may take down."""
    logging.getLogger().addHandler(logging.NullHandler())
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, _ring)
    socket.socket.connect = _no_network  # type: ignore[method-assign]  # for good
    socket.getaddrinfo = _no_network  # type: ignore[assignment]  # for good
    results: dict[str, Any] = {}
    for number in numbers:
        subject = subject_of(seed, number)
        with tempfile.TemporaryDirectory() as scratch:
            good = _prepare(subject, corpus, Path(scratch) / "x")
        damage = damage_of(seed, number, subject, good)
        if subject.name not in results:
            # The time of the first use, with its imports, is not that of the case.
            try_damage(subject, Damage("none", "", good), corpus, results)
        pipe.send((number, None))
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, LONGEST)
        try:
            verdict = try_damage(subject, damage, corpus, results)
        except _Hang:
            verdict = Verdict("other", f"longer than {LONGEST} s")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        pipe.send(
            (number, {
                "number": number, "subject": subject.name, "damage": damage.kind,
                "text": damage.text, "verdict": verdict.kind, "why": verdict.why,
                "seconds": round(time.monotonic() - began, 2),
            })
        )  # fmt: skip
    pipe.send((-1, None))


def run_cases(seed: int, numbers: Sequence[int], corpus: Path) -> Iterator[dict[str, Any]]:
    """Try cases in a second process, and begin a new one where it dies.

    Parameters
    ----------
    seed : int
        Seed of all cases.
    numbers : sequence of int
        Which cases.
    corpus : Path
        Folder of the good files.

    Yields
    ------
    dict
        What was tried and what became of it.
    """
    context = multiprocessing.get_context("fork")
    left = list(numbers)
    while left:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(seed, left, corpus, theirs), daemon=True)
        process.start()
        theirs.close()
        current: int | None = None
        try:
            while ours.poll(2 * LONGEST + 20):
                current, record = ours.recv()
                if current < 0:
                    break
                if record is not None:
                    left.remove(current)
                    yield record
                    current = None
            else:
                process.kill()
        except EOFError:
            pass
        process.join(10)
        if left:
            if current is None or current < 0:
                raise RuntimeError("the process that tries the cases died between two of them")
            left.remove(current)
            yield {
                "number": current, "subject": subject_of(seed, current).name, "damage": "?",
                "text": "", "verdict": "other", "why": f"crash, exit code {process.exitcode}",
                "seconds": 0.0,
            }  # fmt: skip
