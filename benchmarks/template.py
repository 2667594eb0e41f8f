"""Accuracy of the background step with a library that soss_template_build made.

Run ``python benchmarks/template.py``.  For each of 18 simulated skies, four dithered background
exposures of two integrations with field stars are made into a template; the background of
scenes with a star is then found once with the true templates and once with those that were
built.  The error of a scene is that of the mean background on either side of the break.  How
well the ratio of the medians is known is told by drawing the scenes again.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np


def _factor(true: np.ndarray, built: np.ndarray) -> str:
    """Say by how much the median errors differ, with the range of 95 per cent of new draws."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(true), (4000, len(true)))
    ratio = np.median(built, axis=0) / np.median(true, axis=0)
    spread = np.median(built[draws], axis=1) / np.median(true[draws], axis=1)
    low, high = np.percentile(spread, (2.5, 97.5), axis=0)
    return ", ".join(
        f"{side} {middle:.2f} ({one:.2f} to {other:.2f})"
        for side, middle, one, other in zip(("left", "right"), ratio, low, high, strict=True)
    )


def _work(folder: Path, shapes: int, scenes: int, exposures: int, integrations: int) -> None:
    from astropy.io import fits

    from soss_photcal_steps import SossTemplateBackgroundStep, SossTemplateBuildStep
    from soss_photcal_steps.background.breaks import find_break
    from soss_photcal_steps.simulate import SceneParams, make_library, simulate
    from soss_photcal_steps.simulate.write import (
        ExposureHeader,
        write_library,
        write_rate,
        write_rateints,
    )
    from soss_photcal_steps.template.smooth import break_width

    library = make_library(shapes, 3)
    write_library(library, folder / "true.fits")
    files = []
    for shape in range(shapes):
        for k in range(exposures):
            scene = simulate(
                SceneParams(
                    seed=5000 + 10 * shape + k, nints=integrations, star="none",
                    template_index=shape,
                ),
                library,
            )  # fmt: skip
            header = ExposureHeader(
                target=f"SKY-{shape}", program=9000, observation=shape + 1, exposure=k + 1,
                background_target=True,
            )  # fmt: skip
            name = folder / f"jw09000{shape + 1:03d}001_02101_{k + 1:05d}_nis_rateints.fits"
            files.append(str(write_rateints(scene, name, header)))
    built = SossTemplateBuildStep.call(files, group_by="observation")
    built.save(folder / "built.fits")
    images, errors = np.array(built.data), np.array(built.err)
    sides = (np.s_[4:-4, 6:640], np.s_[4:-4, 830:2040])
    noise, moved, widened, quoted = [], [], [], []
    for true, made, error in zip(library.data, images, errors, strict=True):
        parts = [(made / true)[side] for side in sides]
        noise.append([100 * np.std(part) / np.mean(part) for part in parts])
        quoted.append([
            (np.mean(error[side] ** 2) / made[side].mean() ** 2,
             np.mean((made[side] / made[side].mean() - true[side] / true[side].mean()) ** 2))
            for side in sides
        ])  # fmt: skip
        one, other = find_break(true), find_break(made)
        moved.append(np.abs(one.column - other.column).max())
        widened.append(break_width(other.profile) - break_width(one.profile))
    print("| template against the truth | median | worst |\n|---|---|---|")
    for name, values in (
        ("left, rms, per cent", np.array(noise)[:, 0]),
        ("right, rms, per cent", np.array(noise)[:, 1]),
        ("break moved in any row, pixels", np.array(moved)),
        ("break wider, pixels", np.array(widened)),
    ):
        print(f"| {name} | {np.median(values):.2f} | {np.max(np.abs(values)):.2f} |")
    told, real = np.sqrt(np.mean(quoted, axis=0)).T
    print(f"\nERR over the real error, rms: left {told[0] / real[0]:.2f}, "
          f"right {told[1] / real[1]:.2f}")  # fmt: skip
    error: dict[str, list[np.ndarray]] = {"true": [], "built": []}
    hits = {"true": 0, "built": 0}
    for k in range(scenes):
        star = ("bright", "mid", "faint")[k % 3]
        scene = simulate(
            SceneParams(seed=7000 + k, nints=4, star=star, template_index=(7 * k) % shapes), library
        )
        name = folder / f"jw08000{k + 1:03d}001_03102_00001_nis_rate.fits"
        write_rate(scene, name)
        truth = scene.truth.background
        for kind, found in error.items():
            result = SossTemplateBackgroundStep.call(
                str(name), override_bkg=str(folder / f"{kind}.fits"), save_background=True,
                output_dir=str(folder),
            )  # fmt: skip
            background = fits.getdata(folder / name.name.replace("rate.fits", "sossbkg.fits"))
            found.append(
                np.array([100 * (background[s].mean() / truth[s].mean() - 1) for s in sides])
            )
            record = result.meta.soss_photcal.soss_template_bkg
            hits[kind] += int(record.template == (7 * k) % shapes)
    print(f"\n| {scenes} scenes, |error| per cent | left, median | right, median | left, worst | "
          "right, worst | right template |\n|---|---|---|---|---|---|")  # fmt: skip
    for kind, found in error.items():
        values = np.abs(np.array(found))
        middle, worst = np.median(values, axis=0), values.max(axis=0)
        print(f"| {kind} templates | {middle[0]:.2f} | {middle[1]:.2f} | {worst[0]:.2f} | "
              f"{worst[1]:.2f} | {hits[kind]} |")  # fmt: skip
    factor = _factor(*(np.abs(np.array(error[kind])) for kind in ("true", "built")))
    print(f"\nMedian with the built templates over that with the true ones: {factor}")


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=18)
    parser.add_argument("--scenes", type=int, default=36)
    parser.add_argument("--exposures", type=int, default=4, help="for each template")
    parser.add_argument("--integrations", type=int, default=2, help="of each exposure")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        _work(Path(folder), options.shapes, options.scenes, options.exposures, options.integrations)


if __name__ == "__main__":
    main()
