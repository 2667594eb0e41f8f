"""Wall time, CPU time and peak memory of every step and of starting it: one command, one table.

Each measurement is a process of its own, as a user starts it, repeated and given as the median;
what is compared is run in turn.  ``python benchmarks/table.py --quick`` takes small sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_STRUN = os.path.join(sysconfig.get_path("scripts"), "strun")
_COMMAND = os.path.join(sysconfig.get_path("scripts"), "soss-photcal")
_PARTS = ("start", "ratio", "combine", "background")
# A step that does nothing: what stpipe and the data models cost by themselves.
_FLOOR = (
    "import sys\n"
    "from jwst.stpipe import Step\n"
    "from stdatamodels.jwst import datamodels\n"
    "with datamodels.open(sys.argv[1]) as model:\n"
    "    model.save(sys.argv[2])\n"
)


@dataclass(frozen=True)
class Measured:
    """Medians over the repeats: wall and CPU time in s, peak memory in MB."""

    name: str
    wall: float
    cpu: float
    peak: float
    beside: str = ""


def _environment() -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("CRDS_")}
    return plain | {"STPIPE_DISABLE_CRDS_STEPPARS": "true", "OPENBLAS_NUM_THREADS": "1"}


def _once(command: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """Run a command; give wall time, CPU time (s) and peak memory (MB)."""
    start = time.perf_counter()
    with (folder / "output.txt").open("wb") as output:
        child = subprocess.Popen(
            command, cwd=folder, env=_environment(), stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(child.pid, 0)
        # The process is gone; nothing is left to wait for.
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if status:
        text = (folder / "output.txt").read_text(errors="replace")
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _in_turn(
    commands: Mapping[str, Callable[[Path], Sequence[str]]], folder: Path, repeats: int
) -> dict[str, tuple[float, float, float]]:
    """Run commands in turn; give the medians."""
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, make in commands.items():
            out = Path(tempfile.mkdtemp(dir=folder))
            runs[name].append(_once(make(out), out))
            shutil.rmtree(out)
    middle = {}
    for name, found in runs.items():
        walls, cpus, peaks = (sorted(column) for column in zip(*found, strict=True))
        half = len(found) // 2
        middle[name] = (walls[half], cpus[half], peaks[half])
    return middle


def _spectra(folder: Path, nints: int, photom: Path) -> tuple[list[str], Path]:
    """Simulate the spectra of a standard, in segments; give them and the star's model."""
    from dataclasses import replace

    from astropy.io import fits

    from soss_photcal_steps.simulate.calspec import write_model
    from soss_photcal_steps.simulate.campaign import report_campaign
    from soss_photcal_steps.simulate.spectra import simulate_spectra
    from soss_photcal_steps.simulate.spectrafile import write_spectra

    plan = report_campaign(0).observations[0]
    segments = max(1, round(nints / 219))
    plan = replace(plan, nints=nints, segments=segments)
    place = folder / f"spectra{nints}"
    place.mkdir()
    model = place / f"{plan.star.calspec}_mod_sim.fits"
    write_model(plan.star, model)
    paths = [str(path) for path in write_spectra(simulate_spectra(plan), place)]
    for path in paths:
        fits.setval(path, "R_PHOTOM", value=f"crds://{photom.name}")
    return paths, model


def _ratio_command(paths: Sequence[str], model: Path, photom: Path) -> list[str]:
    """Give the command of the ratio step; several segments come as an association."""
    given = paths[0]
    if len(paths) > 1:
        members = [{"expname": path, "exptype": "science"} for path in paths]
        place = Path(given).with_name("segments_asn.json")
        place.write_text(json.dumps({"products": [{"name": "series", "members": members}]}))
        given = str(place)
    return [_STRUN, "soss_ratio", given, f"--model={model}", f"--photom_file={photom}"]


def measure_start(folder: Path, photom: Path, repeats: int) -> Iterator[Measured]:
    """Measure the start of each alias against importing ``jwst.stpipe``."""
    from soss_photcal_steps.integration import get_steps

    paths, model = _spectra(folder, 1, photom)
    python = sys.executable
    commands: dict[str, Callable[[Path], Sequence[str]]] = {
        "import jwst.stpipe": lambda out: [python, "-c", "import jwst.stpipe"],
        "open and save an x1dints with stdatamodels": lambda out: [
            python, "-c", _FLOOR, paths[0], str(out / "copy.fits")
        ],
        "soss_ratio on one integration": lambda out: _ratio_command(paths, model, photom),
        "soss-photcal --help": lambda out: [_COMMAND, "--help"],
    }  # fmt: skip
    for _, alias, _ in get_steps():
        commands[f"strun {alias} --help"] = lambda out, alias=alias: [_STRUN, alias, "--help"]
    found = _in_turn(commands, folder, repeats)
    base = found["import jwst.stpipe"][1]
    for name, (wall, cpu, peak) in found.items():
        yield Measured(name, wall, cpu, peak, f"{cpu / base:.2f} times that import (CPU)")


def measure_ratio(
    folder: Path, photom: Path, lengths: Sequence[int], repeats: int
) -> Iterator[Measured]:
    """Measure the ratio step on series of integrations."""
    commands: dict[str, Callable[[Path], Sequence[str]]] = {}
    for nints in lengths:
        paths, model = _spectra(folder, nints, photom)
        command = _ratio_command(paths, model, photom)
        name = f"soss_ratio, {nints} integrations in {len(paths)} file(s)"
        commands[name] = lambda out, command=command: command
    found = _in_turn(commands, folder, repeats)
    first = next(iter(found.values()))
    for name, (wall, cpu, peak) in found.items():
        yield Measured(name, wall, cpu, peak, f"{wall / first[0]:.2f} times the shortest")


def _ratios(folder: Path, photom: Path, count: int) -> Path:
    """Make ratio products: the 33 of the report, then visits made of them; give the list."""
    import asdf
    import numpy as np
    from astropy.io import fits

    from soss_photcal_steps.ratio.ratio_step import SossRatioStep
    from soss_photcal_steps.simulate.calspec import write_model
    from soss_photcal_steps.simulate.campaign import report_campaign
    from soss_photcal_steps.simulate.spectra import simulate_spectra
    from soss_photcal_steps.simulate.spectrafile import write_spectra

    place = folder / "ratios"
    made = sorted(place.glob("*_sossratio.asdf")) if place.exists() else []
    if not made:
        place.mkdir()
        for plan in report_campaign(0, max_nints=4).observations:
            if plan.star is None:
                continue
            model = place / f"{plan.star.calspec}_mod_sim.fits"
            if not model.exists():
                write_model(plan.star, model)
            paths = [str(path) for path in write_spectra(simulate_spectra(plan), place)]
            for path in paths:
                fits.setval(path, "R_PHOTOM", value=f"crds://{photom.name}")
            SossRatioStep.call(
                paths, model=str(model), photom_file=str(photom), save_results=True,
                output_dir=str(place),
            ).close()  # fmt: skip
        made = sorted(place.glob("*_sossratio.asdf"))
    rng = np.random.default_rng(0)
    names = [str(path) for path in made[:count]]
    more = folder / "visits"
    more.mkdir(exist_ok=True)
    for number in range(len(names), count):
        path = more / f"visit{number:05d}_sossratio.asdf"
        if not path.exists():
            with asdf.open(made[number % len(made)], lazy_load=False, memmap=False) as content:
                tree = content.tree
                tree["observation"]["program"] = f"{10000 + number // 100:05d}"
                tree["observation"]["observation"] = f"{number % 100 + 1:03d}"
                for order in tree["orders"]:
                    order["fit"] = np.array(order["fit"]) * (1 + rng.normal(0, 0.002))
                asdf.AsdfFile(tree).write_to(path)
        names.append(str(path))
    members = [{"expname": name, "exptype": "science"} for name in names]
    listed = folder / f"combine{count}_asn.json"
    listed.write_text(json.dumps({"products": [{"name": "campaign", "members": members}]}))
    return listed


def measure_combine(
    folder: Path, photom: Path, counts: Sequence[int], repeats: int
) -> Iterator[Measured]:
    """Measure the combination of many ratio products, with a photom file and no checks."""
    lists = {count: _ratios(folder, photom, count) for count in counts}
    commands: dict[str, Callable[[Path], Sequence[str]]] = {
        f"soss_photom_combine, {count} observations": lambda out, listed=listed: [
            _STRUN, "soss_photom_combine", str(listed), f"--photom={photom}", "--check=false",
            f"--output_dir={out}",
        ]
        for count, listed in lists.items()
    }  # fmt: skip
    found = _in_turn(commands, folder, repeats)
    first = next(iter(found.values()))
    for name, (wall, cpu, peak) in found.items():
        yield Measured(name, wall, cpu, peak, f"{wall / first[0]:.1f} times the fewest")


def measure_background(folder: Path, lengths: Sequence[int], repeats: int) -> Iterator[Measured]:
    """Measure the background step, jwst's own, and copies; imports are not in these."""
    import _cost

    environments = _cost.environments_of(folder)
    for nints in lengths:
        found = _cost.measure_length(nints, folder, repeats, environments)
        copy = found[_cost.TASKS["copy"]]["wall"]
        for name, result in found.items():
            yield Measured(
                f"{nints} integrations: {name}", result["wall"], result["cpu"], result["peak"],
                f"{result['wall'] / copy:.1f} times the plain copy",
            )  # fmt: skip


def _line(one: Measured) -> str:
    return f"| {one.name} | {one.wall:.2f} | {one.cpu:.2f} | {one.peak:.0f} | {one.beside} |"


def _machine() -> str:
    names = [line for line in _cpu_lines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    packages = ", ".join(f"{name} {version(name)}" for name in ("jwst", "numpy", "scipy"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores of {model}, {memory:.0f} GB; "
        f"Python {platform.python_version()}, {packages}; "
        f"soss_photcal_steps {version('soss_photcal_steps')}."
    )


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="parts to run")
    parser.add_argument("--quick", action="store_true", help="small sizes, one run of each")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder")
    return parser


def main() -> None:
    """Measure, and print the table."""
    from soss_photcal_steps.simulate.references import write_references

    options = _parser().parse_args()
    repeats = 1 if options.quick else options.repeats
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        photom = Path(write_references(folder / "references")["photom"])
        parts: dict[str, Callable[[], Iterator[Measured]]] = {
            "start": lambda: measure_start(folder, photom, repeats),
            "ratio": lambda: measure_ratio(
                folder, photom, (10, 60) if options.quick else (1, 100, 876), repeats
            ),
            "combine": lambda: measure_combine(
                folder, photom, (33, 66) if options.quick else (33, 1000), 1
            ),
            "background": lambda: measure_background(
                folder, (1, 5) if options.quick else (1, 100, 400), repeats
            ),
        }
        print(_machine() + "\n")
        print("| what | wall, s | CPU, s | peak, MB | beside |")
        print("|---|---|---|---|---|")
        for part in options.only:
            for one in parts[part]():
                print(_line(one), flush=True)


if __name__ == "__main__":
    main()
