"""Damage files in seeded ways, give them to every reader, and count what becomes of them.

    python benchmarks/damage.py --count 2000 --seed 1

The good files are made anew, nothing is stored.  With ``--results FILE`` each case is written
down as a line of JSON, and a run that was stopped goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

# Before numpy is imported: more threads than processes only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

from damaging.judge import CLASSES
from damaging.run import run_cases
from damaging.subjects import SUBJECTS, make_corpus

_TITLES = {
    "same": "right: the same",
    "told": "right: and told",
    "value": "as the changed value says",
    "refused": "refused",
    "other": "anything else",
}


def table(records: list[dict[str, Any]]) -> str:
    """Give the counts by reader as Markdown."""
    counts = Counter((one["subject"], one["verdict"]) for one in records)
    lines = [f"| reader | tried | {' | '.join(_TITLES.values())} |", "|---" * 7 + "|"]
    for name in (*(subject.name for subject in SUBJECTS), "all"):
        row = [
            sum(
                n
                for (subject, kind), n in counts.items()
                if kind == one and name in (subject, "all")
            )
            for one in CLASSES
        ]
        lines.append(f"| {name} | {sum(row)} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def _part(seed: int, numbers: list[int], corpus: Path) -> list[dict[str, Any]]:
    return list(run_cases(seed, numbers, corpus))


def _run(seed: int, numbers: list[int], corpus: Path, workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1:
        yield from run_cases(seed, numbers, corpus)
        return
    parts = [numbers[i : i + 50] for i in range(0, len(numbers), 50)]
    with ProcessPoolExecutor(workers) as pool:
        for found in pool.map(_part, [seed] * len(parts), parts, [corpus] * len(parts)):
            yield from found


def main() -> int:
    """Run the cases, and print the table and whatever is neither right nor refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many damaged files")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", help="only this reader")
    parser.add_argument("--results", type=Path, help="file of what was tried, a line each")
    parser.add_argument("--corpus", type=Path, help="folder of good files that were made before")
    options = parser.parse_args()
    records: list[dict[str, Any]] = []
    if options.results and options.results.exists():
        records = [json.loads(line) for line in options.results.read_text().splitlines()]
    known = {one["number"] for one in records}
    numbers = [n for n in range(options.first, options.first + options.count) if n not in known]
    if options.only:
        from damaging.run import subject_of

        numbers = [n for n in numbers if subject_of(options.seed, n).name == options.only]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        corpus = options.corpus or Path(scratch)
        if numbers and options.corpus is None:
            make_corpus(corpus)
        for record in _run(options.seed, numbers, corpus, options.workers):
            records.append(record)
            if options.results:
                with options.results.open("a") as stream:
                    stream.write(json.dumps(record) + "\n")
    print(table(records))
    print(f"\n{len(records)} damaged files, seed {options.seed}, {time.monotonic() - began:.0f} s")
    bad = [one for one in records if one["verdict"] == "other"]
    for one in bad:
        print(f"{one['number']} {one['subject']}: {one['text'][:120]} -> {one['why']}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
