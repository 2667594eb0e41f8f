"""A small simulated campaign through the whole chain, compared with the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soss_photcal_steps.errors import SossInputError

__all__ = ["DemoRow", "demo_rows", "demo_table", "run_demo"]

# Wavelengths of each row of the table, um, and by how much result and truth may differ there,
# per cent.  Beyond, the light of one order in the other's box grows to tens of per cent.
_RANGES = {
    1: (((0.9, 1.25), 1.0), ((1.25, 1.6), 1.0), ((1.6, 2.0), 1.0), ((2.0, 2.35), 1.5),
        ((2.35, 2.8), 3.0)),
    2: (((0.63, 0.74), 1.0), ((0.74, 0.85), 1.0), ((0.85, 0.94), 2.0)),
}  # fmt: skip
# Parts of the log that tell how far the run is.
_SHOWN = ("photcal_pipeline - ", "combine_step - ")
_NAME = "demo"


@dataclass(frozen=True)
class DemoRow:
    """Truth and result over a range of wavelengths; medians.

    Attributes
    ----------
    order : int
        Spectral order.
    low, high : float
        Range, um.
    truth, result, error : float
        True ratio R, the one that was found, and its quoted error.
    limit : float
        Largest difference that is accepted, per cent.
    """

    order: int
    low: float
    high: float
    truth: float
    result: float
    error: float
    limit: float

    @property
    def difference(self) -> float:
        """Difference from the truth, per cent."""
        return 100 * (self.result / self.truth - 1)


def demo_rows(
    found: Mapping[int, tuple[np.ndarray, np.ndarray, np.ndarray]],
    truth: Mapping[int, tuple[np.ndarray, np.ndarray]],
) -> list[DemoRow]:
    """Compare result and truth over ranges of wavelengths.

    Parameters
    ----------
    found : mapping of int to tuple of ndarray
        By order: wavelength (um), R and its error.
    truth : mapping of int to tuple of ndarray
        By order: rising wavelength (um) and true R.

    Returns
    -------
    list of DemoRow
        One for each range in which something was found.
    """
    rows = []
    for order, ranges in _RANGES.items():
        if order not in found:
            continue
        x, ratio, error = found[order]
        for (low, high), limit in ranges:
            inside = (x > low) & (x < high) & np.isfinite(ratio)
            if not inside.any():
                continue
            true = np.interp(x[inside], *truth[order])
            rows.append(
                DemoRow(
                    order, low, high, float(np.median(true)),
                    float(np.median(true) * np.median(ratio[inside] / true)),
                    float(np.median(error[inside])), limit,
                )
            )  # fmt: skip
    return rows


def demo_table(rows: Sequence[DemoRow]) -> str:
    """Format truth against result.

    Parameters
    ----------
    rows : sequence of DemoRow
        The comparison.

    Returns
    -------
    str
        A table of text, one line for each row.
    """
    lines = [
        "order   wavelength, um   R = observed / model     quoted error   difference",
        "                         truth       result                      from truth",
    ]
    lines += [
        f"{r.order:<7} {r.low:.2f} to {r.high:.2f}     {r.truth:.4f}      {r.result:.4f}      "
        f"{r.error:.4f}         {r.difference:+.2f} %"
        for r in rows
    ]
    return "\n".join(lines)


def _standards(folder: Path, models: Mapping[str, str]) -> Path:
    """Write the package's table of standards with the simulated models in it."""
    import yaml

    own = Path(__file__).parent.parent / "standards.yaml"
    content = yaml.safe_load(own.read_text(encoding="utf-8"))
    for star in content["stars"]:
        stem = str(star.get("calspec") or "").partition("_")[0]
        if stem in models:
            star["calspec"] = models[stem]
    path = folder / "standards.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def _association(folder: Path, campaign_files: Sequence[tuple[str, str]]) -> Path:
    path = folder / f"{_NAME}_asn.json"
    members = [{"expname": name, "exptype": kind} for name, kind in campaign_files]
    content = {
        "asn_type": "soss_photcal",
        "asn_rule": "demo",
        "products": [{"name": _NAME, "members": members}],
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run the pipeline as a user does; show how far it is, and keep the whole log."""
    log = folder / f"{_NAME}.log"
    with (
        open(log, "w", encoding="utf-8") as stream,
        subprocess.Popen(
            list(command), cwd=folder, env=dict(environment), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            stream.write(line)
            for mark in _SHOWN:
                if mark in line and " - INFO - Order" not in line:
                    text = line.rpartition(" - ")[2].strip()
                    print(f"  {text[:110]}", flush=True)
    return process.returncode


def run_demo(directory: str | Path, *, seed: int = 1, max_nints: int = 1) -> int:
    """Simulate a campaign, calibrate it, compare with the truth.

    Parameters
    ----------
    directory : path
        Folder to be made; it must be empty or not exist.
    seed : int, optional
        Seed of the simulation.
    max_nints : int, optional
        Integrations of each observation.

    Returns
    -------
    int
        0 if the result agrees with the truth within the limits of the table, else 1.

    Raises
    ------
    SossInputError
        If the folder is in use, or a number is out of its range.
    """
    folder = Path(directory).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SossInputError(
            f"{directory} exists already; give a folder that does not: soss-photcal demo DIR."
        )

    from soss_photcal_steps.simulate.campaign import report_campaign
    from soss_photcal_steps.simulate.writecampaign import write_campaign

    campaign = report_campaign(
        seed, stability=2, max_nints=max_nints, grey_scatter=0.003, shape_scatter=0.002
    )
    data = folder / "data"
    print(f"Simulating {len(campaign.all_plans)} exposures of 5 standard stars ...", flush=True)
    write_campaign(campaign, data)
    environment = {**os.environ, **_environment(data)}
    models = {path.name.partition("_")[0]: path.name for path in (data / "models").iterdir()}
    standards = _standards(folder, models)
    association = _association(folder, _members(data, campaign))
    strun = Path(sys.executable).with_name("strun")
    command = [
        str(strun), "soss_photcal", association.name,
        "--steps.soss_spec2.steps.extract_1d.soss_atoca=false",
        "--steps.soss_spec2.steps.bkg_subtract.save_plots=true",
        f"--steps.soss_ratio.standards={standards.name}",
        "--steps.soss_ratio.calspec_dir=data/models",
        "--steps.soss_ratio.save_plots=true",
        f"--steps.soss_photom_combine.standards={standards.name}",
        "--steps.soss_photom_combine.author=soss-photcal demo",
        "--steps.soss_photom_combine.pedigree=SIMULATION",
        "--steps.soss_photom_combine.save_plots=true",
    ]  # fmt: skip
    print("Calibrating:", " ".join(command[1:3]), "...", flush=True)
    if _run(command, folder, environment) != 0:
        print(f"The pipeline failed; see {folder / f'{_NAME}.log'}.")
        return 1
    return _compare(folder, data)


def _environment(data: Path) -> dict[str, str]:
    content = json.loads((data / "campaign.json").read_text(encoding="utf-8"))
    return {str(name): str(value) for name, value in content["environment"].items()}


def _members(data: Path, campaign: object) -> list[tuple[str, str]]:
    """List the exposures with what they are for."""
    from soss_photcal_steps.ratio.standards import load_standards

    table = load_standards()
    found = []
    for path in sorted([*data.glob("*_rateints.fits"), *data.glob("*_rate.fits")]):
        number = path.name[2:7], path.name[7:10]
        known = [one for star in table.stars if (one := star.observation(*number)) is not None]
        kind = "background" if not known else known[0].role
        kind = "science" if kind == "calibration" else kind
        found.append((f"data/{path.name}", kind))
    return found


def _compare(folder: Path, data: Path) -> int:
    """Print truth against result."""
    from soss_photcal_steps.models import SossPhotomCorrectionModel, open_product, plain_orders
    from soss_photcal_steps.simulate.truthfile import read_truths

    with open_product(folder / f"{_NAME}_sosscorr.asdf", SossPhotomCorrectionModel) as model:
        found = {
            int(entry["order"]): (
                np.array(entry["wavelength"]),
                np.array(entry["correction"]),
                np.array(entry["correction"])
                * np.hypot(np.array(entry["stat_error"]), np.array(entry["sys_error"])),
            )
            for entry in plain_orders(model)
        }
        verdict = model.photom.verdict
    truths = [one for one in read_truths(data).values() if one.orders]
    truth = {}
    for order in found:
        parts: dict[str, list[np.ndarray]] = {}
        for one in truths:
            item = one.orders[order]
            own = np.maximum(item.counts * item.inside, 1e-9)
            # With a box the light of the other orders is part of what the file is made for.
            parts.setdefault(one.star, []).append(item.filed_error * (1 + item.neighbours / own))
        x = truths[0].orders[order].wavelength
        rising = np.argsort(x)
        mean = np.mean([np.mean(values, axis=0) for values in parts.values()], axis=0)
        truth[order] = x[rising], mean[rising]
    rows = demo_rows(found, truth)
    table = demo_table(rows)
    (folder / "truth_and_result.txt").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}\n")
    print(f"New photom file: {folder / f'{_NAME}_photom.fits'}, which {verdict}.")
    print(f"Look at {folder / f'{_NAME}_report.html'}, the report; open it in any browser.")
    bad = [row for row in rows if abs(row.difference) > row.limit]
    for row in bad:
        print(
            f"Order {row.order}, {row.low} to {row.high} um, is off by {row.difference:+.2f} per "
            f"cent, more than {row.limit:g}."
        )
    return 1 if bad else 0
