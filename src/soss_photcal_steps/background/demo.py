"""Simulated exposures through the background step, compared with the truth."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soss_photcal_steps.errors import SossInputError

__all__ = ["DemoRow", "demo_table", "run_demo"]

log = logging.getLogger(__name__)

_STARS = ("bright", "mid", "faint")
_MAX_BIAS = 3.0


@dataclass(frozen=True)
class DemoRow:
    """Truth and result of one exposure on one side of the break.

    Attributes
    ----------
    star, side : str
        Which star and side of the break.
    template_true, template_found : int
        Template, counted from 0.
    truth, result, error : float
        Mean background, what was subtracted, and its quoted error, DN/s.
    """

    star: str
    side: str
    template_true: int
    template_found: int
    truth: float
    result: float
    error: float

    @property
    def bias(self) -> float:
        """Difference from the truth, per cent."""
        return 100 * (self.result / self.truth - 1)


def demo_table(rows: list[DemoRow]) -> str:
    """Format truth against result.

    Parameters
    ----------
    rows : list of DemoRow
        The comparison.

    Returns
    -------
    str
        A table of text, one line for each row.
    """
    lines = [
        "star    side   template     background, DN/s         quoted error   difference",
        "               true found   true       subtracted    DN/s           from truth",
    ]
    lines += [
        f"{r.star:<7} {r.side:<6} {r.template_true:>4} {r.template_found:>5}   {r.truth:<9.4f}  "
        f"{r.result:<9.4f}     {r.error:<9.4f}      {r.bias:+.2f} %"
        for r in rows
    ]
    return "\n".join(lines)


def run_demo(directory: str | Path, *, n_integrations: int = 10, seed: int = 1) -> int:
    """Simulate, subtract, compare.

    Parameters
    ----------
    directory : path
        Folder to be made; it must not exist yet.
    n_integrations : int, optional
        Integrations of each exposure.
    seed : int, optional
        Seed of the simulation.

    Returns
    -------
    int
        0 if each background is within three per cent of the truth, else 1.

    Raises
    ------
    SossInputError
        If the folder exists, or there is no integration.
    """
    folder = Path(directory)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SossInputError(
            f"{folder} exists already; give a folder that does not: soss-photcal demo DIR."
        )
    if n_integrations < 1:
        raise SossInputError(f"An exposure needs at least one integration, not {n_integrations}.")

    from stdatamodels.jwst import datamodels
    from stdatamodels.jwst.datamodels import dqflags

    from soss_photcal_steps.background.background_step import SossTemplateBackgroundStep
    from soss_photcal_steps.simulate import SceneParams, make_exposure, make_library
    from soss_photcal_steps.simulate.write import write_library, write_rateints

    folder.mkdir(parents=True, exist_ok=True)
    print("Making a library of 18 background templates ...", flush=True)
    library = make_library(18, seed)
    library_path = folder / "templates_bkg.fits"
    write_library(library, library_path)
    rows = []
    for number, star in enumerate(_STARS, start=1):
        print(f"[{number}/{len(_STARS)}] {star} star: simulating, then subtracting ...", flush=True)
        exposure = make_exposure(
            SceneParams(seed=seed + number, star=star, nints=n_integrations), library
        )
        source = folder / f"demo_{star}_rateints.fits"
        write_rateints(exposure, source)
        result = SossTemplateBackgroundStep.call(
            str(source),
            override_bkg=str(library_path),
            output_dir=str(folder),
            save_results=True,
            save_plots=True,
            save_background=True,
        )
        result.close()
        truth = exposure.truth
        with (
            datamodels.open(source) as before,
            datamodels.open(folder / f"demo_{star}_bsubints.fits") as after,
        ):
            change = before.data - after.data
            science = (before.dq & dqflags.pixel["REFERENCE_PIXEL"]) == 0
            usable = np.isfinite(change) & science
            header = after.extra_fits.PRIMARY.header
            cards = {card[0]: card[1] for card in header}
        index = truth.template_index
        for side, where, error in (
            ("left", truth.right_fraction < 0.01, "BKGERRL"),
            ("right", truth.right_fraction > 0.99, "BKGERRR"),
        ):
            seen = usable & where
            weight = seen.sum(axis=0)
            level = float((truth.background * weight).sum() / weight.sum())
            scale = truth.scale_left if side == "left" else truth.scale_right
            rows.append(
                DemoRow(
                    star, side, -1 if index is None else index, int(cards["BKGTMPL"]), level,
                    float(change[seen].mean(dtype=float)), float(cards[error]) * level / scale,
                )
            )  # fmt: skip
    table = demo_table(rows)
    (folder / "truth_and_result.txt").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}\n")
    print(f"Look at {folder}/demo_*_sossbkg.png: before and after, the fit, the templates.")
    print(f"Look into {folder}/demo_bright_bsubints.fits: the cards BKG... say what was done.")
    worst = max(abs(row.bias) for row in rows)
    if worst > _MAX_BIAS:
        print(f"The largest difference, {worst:.1f} per cent, is more than {_MAX_BIAS:g} per cent.")
        return 1
    return 0
