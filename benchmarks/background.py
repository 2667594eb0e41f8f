"""Accuracy, cost and real frames of the background step beside jwst's own.

Prints Markdown tables; see README.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Must be set before numpy is imported.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# jwst's step would otherwise ask CRDS for its parameters.
os.environ["STPIPE_DISABLE_CRDS_STEPPARS"] = "true"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="all",
                        choices=("accuracy", "cost", "real", "all"))  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few scenes, short files")
    accuracy = parser.add_argument_group("accuracy")
    accuracy.add_argument("--seeds", type=int, default=8, help="scenes of each kind")
    accuracy.add_argument("--first-seed", type=int, default=0)
    accuracy.add_argument("--kinds", nargs="+", help="groups or kinds of scenes; all by default")
    accuracy.add_argument("--workers", type=int, default=2)
    accuracy.add_argument("--route", choices=("step", "arrays"), default="step",
                          help="run the step, or its algorithm on arrays")  # fmt: skip
    accuracy.add_argument("--no-jwst", action="store_true", help="leave jwst's algorithm out")
    accuracy.add_argument("--library-seed", type=int,
                          help="one library for all scenes, in place of one each")  # fmt: skip
    accuracy.add_argument("--store", type=Path, help="JSON file of results, to go on from")
    accuracy.add_argument("--again", action="store_true", help="measure what is stored again")
    cost = parser.add_argument_group("cost")
    cost.add_argument("--lengths", type=int, nargs="+", default=[1, 20, 100, 400],
                      help="integrations of SUBSTRIP256")  # fmt: skip
    cost.add_argument("--no-full", action="store_true", help="leave the FULL frame out")
    cost.add_argument("--repeats", type=int, help="runs of each; by default 3, long files 1")
    cost.add_argument("--folder", type=Path, help="where the files go; a temporary folder")
    real = parser.add_argument_group("real")
    real.add_argument("--output", type=Path, default=Path("real_frames"),
                      help="folder of the pictures")  # fmt: skip
    return parser


def main() -> None:
    """Run what the command line asks for."""
    options = _parser().parse_args()
    if options.what in ("accuracy", "all"):
        from _accuracy import kind_names, run_accuracy

        kinds, number = kind_names(options.kinds), options.seeds
        if options.quick:
            number = min(number, 2)
            if not options.kinds:
                kinds = [kind for kind in kinds if "FULL" not in kind]
        print("\n## Accuracy\n")
        run_accuracy(
            kinds,
            range(options.first_seed, options.first_seed + number),
            options.workers,
            route=options.route,
            with_jwst=not options.no_jwst,
            library_seed=options.library_seed,
            store=options.store,
            again=options.again,
        )
    if options.what in ("cost", "all"):
        from _cost import run_cost

        lengths = [1, 20] if options.quick else [n for n in options.lengths if n]
        print("\n## Cost\n")
        full = not (options.quick or options.no_full)
        run_cost(lengths, full=full, repeats=options.repeats, folder=options.folder)
    if options.what in ("real", "all"):
        from _real import run_real

        print("\n## Real frames\n")
        run_real(options.output)


if __name__ == "__main__":
    main()
