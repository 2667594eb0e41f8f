"""What the explorer saves: a parameter file for ``strun``, the mask, the masked intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asdf

from soss_photcal_steps import __version__
from soss_photcal_steps.background.background_step import SossTemplateBackgroundStep
from soss_photcal_steps.background.maskfile import write_mask_image
from soss_photcal_steps.contamination.table import write_table
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.explore.state import ExplorerState
from soss_photcal_steps.files import atomic_path

__all__ = ["Saved", "parameters", "save"]

_MOST_VERSIONS = 1000


@dataclass(frozen=True)
class Saved:
    """Files that were written.

    Attributes
    ----------
    parameters : str
        Parameter file of ``soss_template_bkg``.
    mask : str
        Mask of pixels, empty if nothing was painted.
    intervals : str
        Table of masked wavelengths for ``soss_ratio``, empty if none were chosen.
    command : str
        What is typed to repeat what was saved, one line for each segment.
    """

    parameters: str
    mask: str
    intervals: str
    command: str


def parameters(state: ExplorerState) -> dict[str, Any]:
    """Say what is chosen as parameters of the step.

    Parameters
    ----------
    state : ExplorerState
        The state.

    Returns
    -------
    dict
        Name to value.  Scales by hand go with their template; otherwise the step is to fit as
        the explorer did, so that it finds the same scales and their errors.
    """
    options = state.options
    chosen: dict[str, Any] = {
        "trace_half_width": options.trace_half_width,
        "source_sigma": options.source_sigma,
        "combine": options.combine,
    }
    if state.by_hand:
        chosen["template"] = state.template
        chosen["scales"] = [float(scale) for scale in state.scales]
    elif state.setting.template is not None:
        chosen["template"] = state.setting.template
    if len(state.exposure.paths) > 1:
        # Whichever segment the step is given, it is fitted together with the others.
        chosen["fit_with"] = list(state.exposure.paths)
    return chosen


def _free_names(folder: Path, stem: str, endings: Mapping[str, str]) -> dict[str, Path]:
    """Find names of which none exists."""
    for number in range(1, _MOST_VERSIONS):
        tail = "" if number == 1 else f"_{number}"
        paths = {key: folder / f"{stem}{tail}{end}" for key, end in endings.items()}
        if not any(os.path.lexists(path) for path in paths.values()):
            return paths
    raise SossInputError(
        f"There are {_MOST_VERSIONS - 1} sets of files of {stem} in {folder} already; remove some."
    )


def _write_parameters(path: str, chosen: Mapping[str, Any], name: str) -> None:
    """Write a parameter file; what it does not name is as the step has it."""
    step = SossTemplateBackgroundStep
    tree = {
        "class": f"{step.__module__}.{step.__name__}",
        "name": step.class_alias,
        "parameters": dict(chosen),
    }
    with asdf.AsdfFile(tree) as content:
        content.add_history_entry(f"Chosen for {name} with soss-photcal explore {__version__}")
        content.write_to(path)


def save(
    state: ExplorerState,
    folder: str | os.PathLike[str],
    references: Mapping[str, str | None] | None = None,
    *,
    force: bool = False,
) -> Saved:
    """Write what was chosen; nothing that exists is replaced.

    Parameters
    ----------
    state : ExplorerState
        The state.
    folder : path
        Where to write.
    references : mapping, optional
        ``override_bkg`` and the like, which go into the parameter file with their full paths.
    force : bool, optional
        Whether the step is to take a file whose background was subtracted.

    Returns
    -------
    Saved
        What was written.

    Raises
    ------
    SossInputError
        If the folder cannot be written to.
    """
    stem = Path(state.exposure.name).stem.removesuffix("_rateints").removesuffix("_rate")
    paths = _free_names(
        Path(folder),
        f"{stem}_explored",
        {"parameters": ".asdf", "mask": "_mask.fits", "intervals": "_intervals.ecsv"},
    )
    chosen = parameters(state)
    for name, path in (references or {}).items():
        if path:
            chosen[name] = os.path.abspath(path)
    if force:
        chosen["force"] = True
    painted, rows = state.painted(), state.setting.intervals
    if painted is not None:
        write_mask_image(paths["mask"], painted, state.exposure.window)
        chosen["mask_image"] = os.path.abspath(paths["mask"])
    if rows:
        write_table(paths["intervals"], rows)
    with atomic_path(paths["parameters"]) as temporary:
        _write_parameters(temporary, chosen, state.exposure.name)
    return Saved(
        str(paths["parameters"]),
        str(paths["mask"]) if painted is not None else "",
        str(paths["intervals"]) if rows else "",
        "\n".join(f"strun {paths['parameters']} {path}" for path in state.exposure.paths),
    )
