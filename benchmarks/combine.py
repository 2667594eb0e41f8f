"""Accuracy, coverage, steps and cost of combining ratio curves, on simulated campaigns.

Prints Markdown tables.  A campaign has five stars and eight curves, cut off and masked as in
section 7 of JWST-STScI-009248; see tests/helpers/campaign_curves.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

# Must be set before numpy is imported.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import numpy as np  # noqa: E402 (after the number of threads)
from campaign_curves import RANGE_OF_FIVE, campaign  # noqa: E402 (after its path)

from soss_photcal_steps.combine.combine import (  # noqa: E402 (after the number of threads)
    METHODS,
    CombinedOrder,
    combine_order,
    default_options,
)

#: Wavelengths that accuracy is asked for, um, and the limit, per cent.
RANGES = {1: (0.9, 2.8, 0.3), 2: (0.63, 0.94, 1.0)}
#: Kinds of campaigns: what differs from the plain one.
KINDS = {
    "plain": {},
    "2 % rms per star": {"spread": 0.02 * RANGE_OF_FIVE},
    "grey stars only": {"grey": 1.0},
    "shapes only": {"grey": 0.0},
    "short shapes": {"grey": 0.0, "short": True},
}


def _jump(combined: CombinedOrder, method: str, inside: np.ndarray) -> float:
    """Largest change between neighbouring pixels that none of the curves has."""
    ratio = combined.curves.ratio
    change = np.diff(combined.means[method].value) / combined.means[method].value[:-1]
    with np.errstate(invalid="ignore"):
        own = np.diff(ratio, axis=1) / ratio[:, :-1]
    known = inside[1:] & inside[:-1] & np.isfinite(own).any(axis=0) & np.isfinite(change)
    low, high = np.nanmin(own[:, known], axis=0), np.nanmax(own[:, known], axis=0)
    return float(np.max(np.maximum(change[known] - high, low - change[known]), initial=0.0))


def _one(task: tuple[int, int, str]) -> dict[str, np.ndarray]:
    """Combine the raw ratios and the fits of one campaign."""
    seed, order, kind = task
    changes = dict(KINDS[kind])
    if changes.pop("short", False):
        changes["length"] = 0.1 if order == 1 else 0.03
    options = replace(default_options(order), splice=None)
    row = {}
    for smooth in (False, True):
        curves, truth = campaign(
            seed, order, smooth=smooth, contamination=0.0 if smooth else 0.05, **changes
        )
        combined = combine_order(curves, options)
        x = combined.wavelength
        inside = (x > RANGES[order][0]) & (x < RANGES[order][1])
        for method in METHODS:
            mean = combined.means[method]
            error = (mean.value / truth - 1)[inside]
            quoted = mean.total_error[inside]
            row[f"{method} {smooth} error"] = error
            row[f"{method} {smooth} quoted"] = quoted
            row[f"{method} {smooth} covered"] = np.array([np.mean(np.abs(error) < quoted)])
            row[f"{method} {smooth} jump"] = np.array([_jump(combined, method, inside)])
    return row


def accuracy(campaigns: int, kinds: list[str], workers: int, first: int) -> None:
    """Print the table of errors and coverage.

    Parameters
    ----------
    campaigns : int
        Campaigns of each kind and order.
    kinds : list of str
        Kinds of campaigns.
    workers : int
        Processes.
    first : int
        First seed.
    """
    print(
        "| campaign | order | curves | mean | median error % | rms error % | median of quoted % | "
        "covered % | +- | largest jump % |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(workers) as pool:
        for kind in kinds:
            for order in RANGES:
                tasks = [(first + s, order, kind) for s in range(campaigns)]
                _print_rows(kind, order, list(pool.map(_one, tasks, chunksize=4)))


def _print_rows(kind: str, order: int, rows: list[dict[str, np.ndarray]]) -> None:
    for smooth in (False, True):
        for method in METHODS:
            key = f"{method} {smooth}"
            error, quoted, covered, jump = (
                np.array([row[f"{key} {what}"] for row in rows])
                for what in ("error", "quoted", "covered", "jump")
            )
            cells = [
                kind,
                order,
                "fits" if smooth else "raw",
                method,
                f"{100 * np.median(np.abs(error)):.3f}",
                f"{100 * np.sqrt(np.mean(error**2)):.3f}",
                f"{100 * np.median(quoted):.3f}",
                f"{100 * covered.mean():.1f}",
                f"{100 * covered.std() / np.sqrt(len(rows)):.1f}",
                # Raw ratios differ from pixel to pixel by their noise.
                f"{100 * jump.max():.4f}" if smooth else "",
            ]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def cost() -> None:
    """Print the table of times."""
    rng = np.random.default_rng(0)
    curves, _ = campaign(0, 1)
    visit = next(curve for curve in curves if curve.observation == "stability")
    others = [curve for curve in curves if curve is not visit]
    print("| observations | visits are | seconds |")
    print("|---|---|---|")
    for number in (33, 1000):
        for group in ("stability", None):
            visits = [
                replace(
                    visit,
                    observation=f"1539/{i}",
                    ratio=visit.ratio + rng.normal(0, 0.004, visit.ratio.size),
                    stat_error=np.full(visit.ratio.size, 0.004),
                    group=group,
                )
                for i in range(number - len(others))
            ]
            start = time.perf_counter()
            combine_order([*others, *visits])
            seconds = time.perf_counter() - start
            print(f"| {number} | {'one curve' if group else 'single curves'} | {seconds:.2f} |")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="all", choices=("accuracy", "cost", "all"))
    parser.add_argument("--campaigns", type=int, default=200, help="campaigns of each kind")
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=["plain"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    if given.what in ("accuracy", "all"):
        accuracy(given.campaigns, given.kinds, given.workers, given.first_seed)
        print()
    if given.what in ("cost", "all"):
        cost()


if __name__ == "__main__":
    main()
