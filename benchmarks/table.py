"""Wall time, CPU time and peak memory of every step and of starting it: one command, one table.

Each measurement is a process of its own, as a user starts it, repeated and given as the median;
what is compared is run in turn.  The byte code of the package is made first, as by an
installation: without it, each process would compile what other packages have compiled already.
``python benchmarks/table.py --quick`` takes small sizes.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

_STRUN = os.path.join(sysconfig.get_path("scripts"), "strun")
_COMMAND = os.path.join(sysconfig.get_path("scripts"), "soss-photcal")
_PARTS = ("start", "ratio", "combine", "background", "scale")
# A step that does nothing: what stpipe and the data models cost by themselves.
_FLOOR = (
    "import sys\n"
    "from jwst.stpipe import Step\n"
    "from stdatamodels.jwst import datamodels\n"
    "with datamodels.open(sys.argv[1]) as model:\n"
    "    model.save(sys.argv[2])\n"
)
# The least that a step with scipy's splines and an ASDF file as its product can cost.
_LEAST = (
    "import sys, jwst.stpipe, scipy.interpolate, asdf\n"
    "asdf.AsdfFile({'ratio': [1.0, 1.0]}).write_to(sys.argv[1])\n"
)
# What the first data model of a process brings with it, by itself and with the fast parser.
_EXTENSIONS = "import jwst.stpipe, asdf; asdf.get_config().extensions"
_OUR_EXTENSIONS = (
    "import jwst.stpipe; from soss_photcal_steps import _jwst; _jwst.load_asdf_extensions()"
)


@dataclass(frozen=True)
class Measured:
    """Medians over the repeats: wall and CPU time in s, peak memory in MB."""

    name: str
    wall: float
    cpu: float
    peak: float
    beside: str = ""


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("CRDS_")}
    return plain | {"STPIPE_DISABLE_CRDS_STEPPARS": "true", "OPENBLAS_NUM_THREADS": "1", **more}


# A process inherits the peak memory of the one that started it, until its own is larger.  So a
# small one stands between, which has nothing loaded, and tells what its only child took.
_LAUNCHER = (
    "import resource, subprocess, sys, time\n"
    "start = time.perf_counter()\n"
    "status = subprocess.call(sys.argv[1:])\n"
    "wall = time.perf_counter() - start\n"
    "took = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "print('TOOK', wall, took.ru_utime + took.ru_stime, took.ru_maxrss / 1024, file=sys.stderr)\n"
    "sys.exit(status)\n"
)


def _once(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[float, float, float]:
    """Run a command; give wall time, CPU time (s) and peak memory of a process (MB)."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command],
        cwd=folder, env=_environment(environment or {}), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    line = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("TOOK "))
    wall, cpu, peak = map(float, line.split()[1:])
    return wall, cpu, peak


def _compile_package() -> None:
    """Make the byte code of the package, also where Python is told not to write any."""
    import soss_photcal_steps

    place = Path(soss_photcal_steps.__file__).parent
    if not compileall.compile_dir(place, quiet=2):
        raise SystemExit(f"The byte code of {place} cannot be made: no fair start.")


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
    from campaign_files import write_observation

    from soss_photcal_steps.simulate.campaign import report_campaign

    plan = report_campaign(0).observations[0]
    plan = replace(plan, nints=nints, segments=max(1, round(nints / 219)))
    # Two parts of the table may want the same.
    place = Path(tempfile.mkdtemp(dir=folder))
    return write_observation(plan, place, photom)


def _ratio_command(paths: Sequence[str], model: Path, photom: Path) -> list[str]:
    """Give the command of the ratio step; several segments come as an association."""
    given = paths[0]
    if len(paths) > 1:
        from campaign_files import write_list

        given = str(write_list(Path(given).with_name("segments_asn.json"), paths, "series"))
    return [_STRUN, "soss_ratio", given, f"--model={model}", f"--photom_file={photom}"]


def measure_start(folder: Path, photom: Path, repeats: int) -> Iterator[Measured]:
    """Measure the start of each alias against importing ``jwst.stpipe``."""
    from soss_photcal_steps.integration import get_steps

    paths, model = _spectra(folder, 1, photom)
    python = sys.executable
    commands: dict[str, Callable[[Path], Sequence[str]]] = {
        "import jwst.stpipe": lambda out: [python, "-c", "import jwst.stpipe"],
        "the same, and asdf loads its extensions": lambda out: [python, "-c", _EXTENSIONS],
        "the same, as the steps have them loaded": lambda out: [python, "-c", _OUR_EXTENSIONS],
        "the same, scipy's splines, and one small ASDF file": lambda out: [
            python, "-c", _LEAST, str(out / "least.asdf")
        ],
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
    from campaign_files import make_ratios, write_list

    from soss_photcal_steps.simulate.campaign import report_campaign

    place = folder / "ratios"
    if not place.exists():
        place.mkdir()
        make_ratios(report_campaign(0, max_nints=4), place, photom)
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
    return write_list(folder / f"combine{count}_asn.json", names, "campaign")


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


def _write_rates(folder: Path, count: int, nints: int) -> dict[str, str]:
    """Simulate rates of standards, with an association; give what the environment must have."""
    from campaign_files import write_list

    from soss_photcal_steps.simulate.campaign import Campaign, report_campaign
    from soss_photcal_steps.simulate.writecampaign import write_campaign

    plans = report_campaign(0, stability=4, max_nints=nints).observations
    plans = [one for one in plans if one.star is not None][:count]
    if len(plans) < count:
        raise SystemExit(f"The simulated campaign has {len(plans)} observations, not {count}.")
    alone = tuple(replace(one, background_observation=None) for one in plans)
    write_campaign(Campaign("scale", alone, 0), folder / "data")
    names = [f"data/{path.name}" for path in sorted((folder / "data").glob("*_rate*.fits"))]
    write_list(folder / "asn.json", names, "scale")
    stars = {one.star.name: one.star for one in alone}.values()
    models = {path.name.partition("_")[0]: path.name for path in folder.glob("data/models/*")}
    (folder / "standards.yaml").write_text(
        "stars:\n"
        + "".join(f"- {{name: {one.name}, calspec: {models[one.calspec]}}}\n" for one in stars)
    )
    listing = json.loads((folder / "data" / "campaign.json").read_text())
    return {str(name): str(value) for name, value in listing["environment"].items()}


def measure_scale(folder: Path, count: int, nints: int, repeats: int) -> Iterator[Measured]:
    """Measure the whole pipeline from rates to photom file with one and two workers.

    All products of all runs are compared, bit for bit but for times.
    """
    from scale_products import content

    place = folder / "scale"
    place.mkdir()
    environment = _write_rates(place, count, nints)
    settings = (
        "steps.soss_spec2.steps.extract_1d.soss_atoca=false",
        "steps.soss_ratio.standards=standards.yaml",
        "steps.soss_ratio.calspec_dir=data/models",
        "steps.soss_photom_combine.standards=standards.yaml",
        "steps.soss_photom_combine.check=false",
    )
    runs: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    first = None
    for _ in range(repeats):
        for workers, found in runs.items():
            out = Path(tempfile.mkdtemp(dir=place))
            found.append(
                _once(
                    [_COMMAND, "run", "asn.json", f"--workers={workers}", f"--output-dir={out}",
                     *(f"--set={one}" for one in settings)],
                    place, environment,
                )
            )  # fmt: skip
            made = content(out)
            first = first or made
            if made != first:
                raise SystemExit(f"{workers} worker(s) made other products than one did.")
            shutil.rmtree(out)
    one, two = (sorted(runs[workers])[repeats // 2] for workers in (1, 2))
    title = f"soss-photcal run, {count} observations of {nints} integration(s)"
    yield Measured(f"{title}, 1 worker", *one, "")
    yield Measured(
        f"{title}, 2 workers", *two,
        f"{two[0] / one[0]:.2f} times one worker; {len(first)} parts of products the same",
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
    parser.add_argument(
        "--lengths", nargs="+", type=int, default=(1, 100, 400),
        help="integrations for the background step (default: 1 100 400)",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder")
    return parser


def main() -> None:
    """Measure, and print the table."""
    from soss_photcal_steps.simulate.references import write_references

    options = _parser().parse_args()
    repeats = 1 if options.quick else options.repeats
    _compile_package()
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
                folder, (1, 5) if options.quick else options.lengths, repeats
            ),
            "scale": lambda: measure_scale(
                folder, 2 if options.quick else 8, 1 if options.quick else 10, repeats
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
