"""Write a campaign: exposures, truth, models of the stars, references and a CRDS cache."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soss_photcal_steps import __version__
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path, fingerprint
from soss_photcal_steps.simulate.calspec import write_model
from soss_photcal_steps.simulate.campaign import Campaign
from soss_photcal_steps.simulate.library import TemplateLibrary
from soss_photcal_steps.simulate.observation import ObservationPlan, background_plan, make_scene
from soss_photcal_steps.simulate.truth import observation_truth
from soss_photcal_steps.simulate.truthfile import write_truth
from soss_photcal_steps.simulate.write import write_rate, write_rateints

__all__ = ["CAMPAIGN_FILE", "expected_size", "write_campaign", "write_observation"]

#: List of what was written, with checksums, in the folder of a campaign.
CAMPAIGN_FILE = "campaign.json"
_MODELS, _REFERENCES, _CACHE = "models", "references", "crds_cache"
_OBSERVATIONS = "observations.txt"
# SCI, ERR and DQ and the two variances, four bytes each.
_BYTES_PER_PIXEL = 20
_REFERENCES_SIZE = 60e6

Progress = Callable[[str], None]


@dataclass
class _Folder:
    """The folder of a campaign, and the list of what was written to it."""

    path: Path
    name: str
    seed: int
    known: dict[str, str]
    environment: dict[str, str]

    def add(self, paths: Iterable[Path]) -> list[Path]:
        """Note files, at once, so that an interrupted run is known for what it is."""
        paths = list(paths)
        for path in paths:
            self.known[path.relative_to(self.path).as_posix()] = fingerprint(path).sha256
        listing = {
            "made_by": f"soss_photcal_steps {__version__}",
            "campaign": self.name,
            "seed": self.seed,
            "environment": self.environment,
            "files": self.known,
        }
        with atomic_path(self.path / CAMPAIGN_FILE) as temporary:
            Path(temporary).write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
        return paths


def expected_size(campaign: Campaign) -> float:
    """Estimate the size of a campaign on disk.

    Parameters
    ----------
    campaign : Campaign
        The plan.

    Returns
    -------
    float
        Bytes.
    """
    total = _REFERENCES_SIZE
    for plan in campaign.all_plans:
        rows = 256 if plan.subarray == "SUBSTRIP256" else 96
        frames = plan.nints if plan.product == "rateints" else 1
        # The truth has one more image of four bytes per pixel.
        total += rows * 2048 * (frames * _BYTES_PER_PIXEL + 4)
    return total


def write_observation(
    plan: ObservationPlan, library: TemplateLibrary, folder: str | os.PathLike[str]
) -> list[Path]:
    """Write the files of one observation, and its truth.

    Parameters
    ----------
    plan : ObservationPlan
        The observation.
    library : TemplateLibrary
        Background templates.
    folder : path
        Where to write; files of the same names are replaced.

    Returns
    -------
    list of Path
        The exposures, then the truth.

    Raises
    ------
    SossInputError
        If the folder does not exist or the plan cannot be carried out.
    """
    folder = Path(folder)
    scene = make_scene(plan, library)
    paths = []
    if plan.product == "rate":
        paths.append(write_rate(scene, folder / plan.filenames[0], plan.header))
    else:
        ranges = zip(plan.filenames, plan.segment_ranges, strict=True)
        for number, (name, (first, last)) in enumerate(ranges, start=1):
            segment = (number, plan.segments)
            paths.append(
                write_rateints(
                    scene, folder / name, plan.header, first=first, last=last, segment=segment
                )
            )
    paths.append(write_truth(observation_truth(plan, scene), folder / f"{plan.root}_truth.asdf"))
    return paths


def _association(plan: ObservationPlan, folder: Path) -> Path:
    """Write the association of an observation with its dedicated background."""
    background = background_plan(plan).filenames[0]
    tree = {
        "asn_type": "spec2",
        "asn_rule": "DMSLevel2bBase",
        "asn_id": "a3001",
        "asn_pool": "none",
        "degraded_status": "No known degraded exposures in association.",
        "version_id": None,
        "program": f"{plan.program:05d}",
        "constraints": "none",
        "products": [
            {
                "name": name.removesuffix(f"_{plan.product}.fits"),
                "members": [
                    {"expname": name, "exptype": "science"},
                    {"expname": background, "exptype": "background"},
                ],
            }
            for name in plan.filenames
        ],
    }
    path = folder / f"{plan.root}_spec2_asn.json"
    with atomic_path(path) as temporary:
        Path(temporary).write_text(json.dumps(tree, indent=4) + "\n", encoding="utf-8")
    return path


def _log(campaign: Campaign) -> str:
    """Describe the observations, one a line."""
    lines = [f"{'file':<46} {'target':<24} {'start':<19} {'ints':>4} {'groups':>6} {'PWCPOS':>9}"]
    for plan in campaign.all_plans:
        target = plan.header.target
        lines += [
            f"{name:<46} {target:<24} {plan.start[:19]:<19} {plan.nints:>4} {plan.groups:>6} "
            f"{plan.pwcpos:>9.4f}"
            for name in plan.filenames
        ]
    return "\n".join(lines) + "\n"


def _read_listing(folder: Path) -> dict[str, str]:
    try:
        listing = json.loads((folder / CAMPAIGN_FILE).read_text(encoding="utf-8"))
        return dict(listing["files"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SossInputError(
            f"{folder / CAMPAIGN_FILE} is not the list of a simulated campaign ({error}); give "
            "another folder."
        ) from error


def _make_room(campaign: Campaign, folder: Path, force: bool) -> None:
    """Make the folder, or remove an earlier campaign from it, but nothing else."""
    if folder.exists() and not folder.is_dir():
        raise SossInputError(f"{folder} is a file; give a folder.")
    if not folder.exists():
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise SossInputError(f"{folder} cannot be made: {error.strerror}.") from error
        return
    if not any(folder.iterdir()):
        return
    if not force:
        raise SossInputError(
            f"{folder} is not empty; give a folder that is, or add --force (force=True) to replace "
            "an earlier simulation in it."
        )
    known = _read_listing(folder)
    names = {_OBSERVATIONS, CAMPAIGN_FILE}
    for plan in campaign.all_plans:
        names |= {*plan.filenames, f"{plan.root}_truth.asdf", f"{plan.root}_spec2_asn.json"}
    there = {name for name in names if (folder / name).exists()} - {CAMPAIGN_FILE}
    for part in (_MODELS, _REFERENCES, _CACHE):
        there |= {
            path.relative_to(folder).as_posix()
            for path in (folder / part).rglob("*")
            if not path.is_dir()
        }
    if (folder / CAMPAIGN_FILE).exists() and not known:
        there.add(CAMPAIGN_FILE)
    for name in sorted(there | {name for name in known if (folder / name).exists()}):
        if name not in known:
            raise SossInputError(
                f"{folder / name} is not from an earlier simulation and would be in the way; move "
                "it, or give another folder."
            )
        if fingerprint(folder / name).sha256 != known[name]:
            raise SossInputError(
                f"{folder / name} was changed since it was simulated; move it, or give another "
                "folder."
            )
    for name in known:
        (folder / name).unlink(missing_ok=True)
    for part in (_MODELS, _REFERENCES, _CACHE):
        # What is left are empty folders.
        for path in sorted((folder / part).rglob("*"), reverse=True):
            path.rmdir()
        if (folder / part).is_dir():
            (folder / part).rmdir()
    (folder / CAMPAIGN_FILE).unlink(missing_ok=True)


def _write_references(
    campaign: Campaign, library: TemplateLibrary, folder: Path, photom: str
) -> tuple[list[Path], dict[str, str]]:
    """Write a pack of references for each subarray, and the cache that serves them."""
    from soss_photcal_steps.simulate.crds_cache import write_crds_cache
    from soss_photcal_steps.simulate.references import write_references

    subarrays = sorted({plan.subarray for plan in campaign.observations}, reverse=True)
    packs: Sequence[Any] = [
        write_references(
            folder / _REFERENCES / name.lower(), subarray=name, photom=photom, library=library
        )
        for name in subarrays
    ]
    cache = write_crds_cache(folder / _CACHE, *packs)
    paths = [path for path in (folder / _REFERENCES).rglob("*") if path.is_file()]
    paths += [path for path in (folder / _CACHE).rglob("*") if path.is_file()]
    return sorted(paths), cache.environment()


def write_campaign(
    campaign: Campaign,
    folder: str | os.PathLike[str],
    *,
    photom: str = "filed",
    references: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write a campaign to a folder.

    Beside the exposures, each with its truth, there are models of the stars in the form of
    CALSPEC (``models``), associations for observations with a dedicated background, the
    references of the simulated instrument (``references``), a CRDS cache that serves them
    (``crds_cache``), a log (``observations.txt``) and a list of all with checksums and the
    environment variables for the cache (``campaign.json``).

    Parameters
    ----------
    campaign : Campaign
        The plan.
    folder : path
        The folder, new or empty.
    photom : {"filed", "true"}, optional
        Whether the photom file has the error that a calibration is to find.
    references : bool, optional
        Whether to write references and cache.
    force : bool, optional
        Replace an earlier campaign in the folder.  Files that are not from one, or were
        changed since, are never touched; where they are in the way, nothing is written.
    progress : callable, optional
        Called with a line of text before each part.

    Returns
    -------
    list of Path
        All files written.

    Raises
    ------
    SossInputError
        If the folder cannot be used or the plan cannot be carried out.
    """
    if photom not in ("filed", "true"):
        raise SossInputError(f"The photom file is 'filed' or 'true', not {photom!r}.")
    tell: Progress = progress or (lambda text: None)
    path = Path(folder).absolute()
    _make_room(campaign, path, force)
    target = _Folder(path, campaign.name, campaign.seed, {}, {})
    tell(f"making {campaign.n_templates} background templates")
    library = campaign.library()
    written: list[Path] = []
    plans = campaign.all_plans
    for number, plan in enumerate(plans, start=1):
        tell(f"[{number}/{len(plans)}] {plan.root}: {plan.header.target}, {plan.nints} int.")
        written += target.add(write_observation(plan, library, path))
        if plan.background_observation is not None:
            written += target.add([_association(plan, path)])
    (path / _MODELS).mkdir()
    for name, star in campaign.stars.items():
        written += target.add([write_model(star, path / _MODELS / f"{name}_mod_sim.fits")])
    if references:
        tell("references and CRDS cache")
        files, target.environment = _write_references(campaign, library, path, photom)
        written += target.add(files)
    with atomic_path(path / _OBSERVATIONS) as temporary:
        Path(temporary).write_text(_log(campaign), encoding="utf-8")
    return [*written, *target.add([path / _OBSERVATIONS]), path / CAMPAIGN_FILE]
