"""What is left of the background of real frames, for this step and jwst's own."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["run_real"]

#: File, name and PWCPOS in degrees; that of the second frame is not known.
FRAMES = (
    ("jw01512001001_03102_00001_nis_demo_pwcpos_245.778671.npy", "BD+60 1753", 245.778671),
    ("wasp39b_medframe.npy", "WASP-39", 245.76),
)
# Rows of SUBSTRIP256 that SUBSTRIP96 covers, and that the template is for.
_ROWS_96 = slice(10, 106)
# Tilt of the break, columns per row: it is seen in the template and in the frames.
_TILT = 0.032
_BREAK = 696.3
_NEAREST = 28.0
_WANTED = ("scales", "scale_errors", "chi_square")
#: Columns of the patches on either side, and of the fit of the step at the break.
SIDES = {"left": (20, 600), "right": (790, 950), "beyond 950": (950, 1900)}
_BREAK_LEFT, _BREAK_RIGHT = (590, 675), (745, 830)


@dataclass(frozen=True)
class _Case:
    """A frame as it is given to the steps."""

    name: str
    image: np.ndarray
    rows: np.ndarray
    template: np.ndarray
    subarray: str
    pwcpos: float


def _extended(template: np.ndarray) -> np.ndarray:
    """Extend the template to 256 rows: its mean row, moved along the tilt of the break."""
    columns = np.arange(template.shape[1], dtype=float)
    image = np.where(template > 0, template, np.nan)
    rows = np.arange(_ROWS_96.start, _ROWS_96.stop)
    known = np.isfinite(image).all(axis=0)
    aligned = [
        np.interp(columns + _TILT * row, columns[known], line[known])
        for row, line in zip(rows, image, strict=True)
    ]
    mean = np.mean(aligned, axis=0)
    return np.array([np.interp(columns - _TILT * row, columns, mean) for row in range(256)])


def _cases(folder: Path) -> list[_Case]:
    template = np.load(folder / "crds_ref" / "model_background96.npy").astype(np.float32)
    wide = _extended(template).astype(np.float32)
    cases = []
    for file, name, pwcpos in FRAMES:
        image = np.load(folder / "soss_frames" / file).astype(np.float32)
        part = image[_ROWS_96]
        rows = np.arange(256)
        cases.append(_Case(name, part, rows[_ROWS_96], template, "SUBSTRIP96", pwcpos))
        cases.append(_Case(name, image, rows, wide, "SUBSTRIP256", pwcpos))
    return cases


def _errors(image: np.ndarray) -> np.ndarray:
    """Error of each pixel, from the differences of neighbours; the frames have none."""
    second = image[:, 1:-1] - 0.5 * (image[:, :-2] + image[:, 2:])
    sky = image[:, 1:-1] < np.nanpercentile(image, 40)
    sigma = np.median(np.abs(second[sky])) / 0.6745 / np.sqrt(1.5)
    level = np.median(image[:, 1:-1][sky])
    return (sigma * np.sqrt(np.maximum(image, level) / level)).astype(np.float32)


def _write(case: _Case, folder: Path) -> tuple[Path, Path]:
    """Wrap frame and template as files of the pipeline."""
    from stdatamodels.jwst import datamodels

    from soss_photcal_steps.simulate import SceneParams, TemplateLibrary, make_exposure
    from soss_photcal_steps.simulate.write import write_library, write_rate

    library = TemplateLibrary(case.template[None], ("model_background96",), case.subarray)
    stem = f"{case.name.replace('+', '').replace(' ', '').replace('-', '')}_{case.subarray}"
    library_path = write_library(library, folder / f"{stem.lower()}_bkg.fits")
    params = SceneParams(nints=1, subarray=case.subarray, pwcpos=case.pwcpos)
    path = write_rate(make_exposure(params, library), folder / f"{stem.lower()}_rate.fits")
    with datamodels.ImageModel(path) as model:
        dq = np.zeros(case.image.shape, np.uint32)
        dq[~np.isfinite(case.image) | (case.image == 0)] = 1
        border = np.zeros(dq.shape, bool)
        border[:, :4] = border[:, -4:] = True
        if case.subarray == "SUBSTRIP256":
            border[-4:] = True
        dq[border] |= np.uint32(2**31 + 1)
        model.data, model.dq, model.err = case.image, dq, _errors(case.image)
        model.var_rnoise = model.err**2
        model.var_poisson = np.zeros_like(model.err)
        model.meta.target.catalog_name = case.name
        model.save(path)
    return path, library_path


def _jwst(path: Path, library: Path) -> np.ndarray:
    from jwst.background.background_sub_soss import subtract_soss_bkg
    from stdatamodels.jwst import datamodels

    with datamodels.ImageModel(path) as model:
        result = subtract_soss_bkg(model, str(library), 35.0, [25.0, 50.0])
        if result is None:
            raise SystemExit(f"jwst gave up on {path.name}.")
        return np.array(result.data)


def _own(path: Path, library: Path, output: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    from soss_photcal_steps import SossTemplateBackgroundStep

    result = SossTemplateBackgroundStep.call(
        str(path),
        override_bkg=str(library),
        save_results=True,
        save_plots=True,
        on_failure="error",
        output_dir=str(output),
    )
    record = result.meta.soss_photcal.instance["soss_template_bkg"]
    # The arrays of a record are read on demand, and only as long as the model is open.
    return np.array(result.data), {name: np.array(record[name]) for name in _WANTED}


def _wings(case: _Case, path: Path) -> np.ndarray:
    """Light of the star's wings as this package's fit has it, DN/s."""
    from stdatamodels.jwst import datamodels

    from soss_photcal_steps.background.exposure import find_background
    from soss_photcal_steps.background.inputs import ModelIntegrations
    from soss_photcal_steps.background.options import FitOptions
    from soss_photcal_steps.background.reference import trace_positions

    traces = trace_positions(case.pwcpos, "CLEAR", None)
    template = np.where(case.template > 0, case.template, np.median(case.template))
    with datamodels.ImageModel(path) as model:
        result = find_background(
            [ModelIntegrations(model)], case.rows, template[None], traces, FitOptions()
        )
    return result.wing()


def _distance(case: _Case) -> np.ndarray:
    from soss_photcal_steps.background.reference import trace_positions

    traces = trace_positions(case.pwcpos, "CLEAR", None)
    return np.min([np.abs(case.rows[:, None] - t[None]) for t in traces.values()], axis=0)


def _clipped(values: np.ndarray) -> np.ndarray:
    for _ in range(5):
        middle = np.median(values)
        sigma = np.median(np.abs(values - middle)) / 0.6745
        values = values[np.abs(values - middle) < 3 * sigma]
    return values


def _patches(case: _Case, distance: np.ndarray, columns: tuple[int, int]) -> list[np.ndarray]:
    """Pixels of a side that are farther than others from any trace, in patches of columns."""
    patches = []
    for start in range(columns[0], columns[1] - 30, 80):
        part = np.zeros(case.image.shape, bool)
        part[:, start : min(start + 80, columns[1])] = True
        part &= (distance > _NEAREST) & np.isfinite(case.image) & (case.image != 0)
        if case.subarray == "SUBSTRIP256":
            part[-4:] = False
        if part.sum() < 300:
            continue
        # The farther half of them.
        part &= distance >= np.median(distance[part])
        patches.append(part)
    return patches


def _level(image: np.ndarray, patches: list[np.ndarray]) -> tuple[float, float]:
    """Mean over the patches and its error from the scatter between them."""
    means = np.array([_clipped(image[p]).mean() for p in patches])
    error = 1.2533 * means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    return float(np.median(means)), float(error)


def _step(image: np.ndarray, distance: np.ndarray) -> tuple[float, float]:
    """Step at the break over what is smooth there, DN/s, and its error."""
    columns = np.arange(*_BREAK_LEFT).tolist() + np.arange(*_BREAK_RIGHT).tolist()
    x, y = [], []
    for column in columns:
        far = distance[:, column] > _NEAREST
        values = image[far, column]
        values = values[np.isfinite(values) & (values != 0)]
        if values.size >= 8:
            x.append(column)
            y.append(np.median(values))
    position, value = np.array(x, float), np.array(y)
    middle = position - _BREAK
    design = np.stack([np.ones_like(middle), middle / 100, position > _BREAK], axis=1)
    keep = np.ones(value.size, bool)
    for _ in range(3):
        solution = np.linalg.lstsq(design[keep], value[keep], rcond=None)[0]
        residual = value - design @ solution
        keep = np.abs(residual) < 3 * residual[keep].std()
    covariance = np.linalg.inv(design[keep].T @ design[keep]) * residual[keep].var()
    return float(solution[2]), float(np.sqrt(covariance[2, 2]))


def _data_folder() -> Path | None:
    named = os.environ.get("SOSS_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if (folder / "soss_frames").is_dir() else None


def run_real(output: Path) -> None:
    """Subtract the background of the real frames, and print what is left.

    Parameters
    ----------
    output : Path
        Folder of the subtracted frames and the pictures.
    """
    folder = _data_folder()
    if folder is None:
        print("Left out: no real frames (SOSS_TEST_DATA, or ../shared/data, with soss_frames).")
        return
    output.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)
    print(
        "Residual in patches at least 28 pixels from every trace (the farther half of those), "
        "DN/s and per cent of the background there; the light of the star's wings, as the fit of "
        "this step has it, is still in the first and taken off in the second.\n"
    )
    print("| frame | side | algorithm | background | residual | of background, % | "
          "less wings | of background, % |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    steps, notes = [], []
    with tempfile.TemporaryDirectory() as name:
        for case in _cases(folder):
            path, library = _write(case, Path(name))
            own, record = _own(path, library, output)
            wings = _wings(case, path)
            distance = _distance(case)
            results = {"this step": own, "jwst": _jwst(path, library)}
            title = f"{case.name}, {case.subarray}"
            scales = ", ".join(
                f"{s:.4f} +- {e:.4f}"
                for s, e in zip(record["scales"], record["scale_errors"], strict=True)
            )
            notes.append(f"{title}: scales {scales}, reduced chi square {record['chi_square']:.2f}")
            for side, columns in SIDES.items():
                patches = _patches(case, distance, columns)
                if not patches:
                    continue
                for algorithm, image in results.items():
                    level = _level(case.image - own, patches)[0]
                    left, error = _level(image, patches)
                    less, less_error = _level(image - wings, patches)
                    print(
                        f"| {title} | {side} | {algorithm} | {level:.2f} | "
                        f"{left:+.3f} +- {error:.3f} | {100 * left / level:+.1f} | "
                        f"{less:+.3f} +- {less_error:.3f} | {100 * less / level:+.1f} |",
                        flush=True,
                    )
            for algorithm, image in results.items():
                size, error = _step(image, distance)
                steps.append(f"| {title} | {algorithm} | {size:+.3f} +- {error:.3f} |")
            before = _step(case.image, distance)
            steps.append(f"| {title} | not subtracted | {before[0]:+.3f} +- {before[1]:.3f} |")
    print("\n| frame | algorithm | step at the break, DN/s |\n|---|---|---|")
    print("\n".join(steps))
    print()
    for note in notes:
        print(f"* {note}")
    print(f"* Pictures: {', '.join(sorted(p.name for p in output.glob('*.png')))} in {output}")
