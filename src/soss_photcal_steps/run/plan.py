"""What a run has to do: its observations, and what they are expected to take."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from astropy.io import fits

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import is_association
from soss_photcal_steps.level3 import EXPOSURE_CARDS
from soss_photcal_steps.photcal.members import Observation, group_members, read_association
from soss_photcal_steps.photcal.spec2_input import product_root, spectra_name
from soss_photcal_steps.run.limits import memory_needed

__all__ = ["UNTIL", "Plan", "Unit", "make_plan"]

#: How far a run goes.
UNTIL = ("spectra", "ratios", "photom")
_LISTS = (".txt", ".lst", ".list")


@dataclass(frozen=True)
class Unit:
    """The work on one observation, or on one exposure of a list.

    Attributes
    ----------
    observation : Observation
        Its files.
    kind : {"x1d", "cal"}
        What becomes of rates: spectra, or images where calwebb_spec2 extracts none.
    """

    observation: Observation
    kind: str = "x1d"

    @property
    def label(self) -> str:
        """A name that can be that of a file, and that no other unit of a run has."""
        text = re.sub(r"[^\w.-]+", "_", self.observation.name)
        kind = self.observation.exptype
        return text if kind == "science" else f"{text}-{kind}"

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of its stages in the state of a run."""
        return tuple(f"{stage} of {self.observation.name}" for stage in ("spectra", "ratio"))


@dataclass(frozen=True)
class Plan:
    """What a run has to do.

    Attributes
    ----------
    name : str
        What the products of the whole are named after.
    association : str or None
        Path of the association; None for a list of files.
    units : tuple of Unit
        The observations.
    failures : tuple of (str, str)
        Files that cannot be used, and why.
    until : str
        How far to go, one of `UNTIL`.
    """

    name: str
    association: str | None
    units: tuple[Unit, ...]
    failures: tuple[tuple[str, str], ...]
    until: str

    @property
    def first_rate(self) -> str | None:
        """The exposure of rates whose metadata select parameters in CRDS, if there is one."""
        for unit in self.units:
            if unit.observation.kind == "rate":
                return unit.observation.files[0]
        return None

    @property
    def memory(self) -> float:
        """Estimate of what the largest observation takes, bytes."""
        sizes = [_size(path) for unit in self.units for path in unit.observation.files]
        return memory_needed(max(sizes, default=0.0))


def make_plan(given: Sequence[str], until: str | None = None, name: str | None = None) -> Plan:
    """Look at what is to be done.

    Parameters
    ----------
    given : sequence of str
        An association (``.json``), or exposures and text files that list some, one a line.
    until : str, optional
        How far to go, one of `UNTIL`; by default to the photom file for an association, to
        the spectra for a list.
    name : str, optional
        What the products of a list as a whole are named after.

    Returns
    -------
    Plan
        The plan.

    Raises
    ------
    SossInputError
        If the input cannot be used at all, or two observations would write the same file.
    """
    if len(given) == 1 and is_association(given[0]):
        path = os.path.abspath(given[0])
        found, members = read_association(path)
        observations, failures = group_members(members)
        units = [Unit(one) for one in observations]
        plan = Plan(found, path, tuple(units), tuple(failures), until or "photom")
    else:
        plan = _plan_list(given, until or "spectra", name)
    if not plan.units:
        reasons = "; ".join(reason for _, reason in plan.failures)
        raise SossInputError(f"There is no observation to work on: {reasons}")
    _refuse_collisions(plan.units)
    return plan


def _plan_list(given: Sequence[str], until: str, name: str | None) -> Plan:
    if any(is_association(path) for path in given):
        raise SossInputError("Give one association, or files; not both, and not several.")
    if until == "photom":
        raise SossInputError(
            "A photom file needs an association, which says what each file is for; of a list of "
            "files --until spectra or ratios can be made."
        )
    name = name or _list_name(given)
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise SossInputError(f"--name is {name!r}; no path is wanted.")
    paths = _paths(given)
    members = [{"expname": path, "exptype": "science"} for path in paths]
    observations, failures = group_members(members)
    if until == "ratios":
        return Plan(name, None, tuple(map(Unit, observations)), tuple(failures), until)
    units = []
    for one in observations:
        if one.kind == "rate":
            units += _exposures(one)
        else:
            what = "spectra already" if one.kind == "x1d" else "a ratio product"
            failures.append((one.name, f"{os.path.basename(one.files[0])} is {what}."))
    return Plan(name, None, tuple(units), tuple(failures), until)


def _list_name(given: Sequence[str]) -> str:
    """Name a run after its list, if there is one."""
    lists = [path for path in given if path.lower().endswith(_LISTS)]
    return os.path.splitext(os.path.basename(lists[0]))[0] if lists else "exposures"


def _paths(given: Sequence[str]) -> list[str]:
    """Replace text files by what they list."""
    paths: list[str] = []
    for item in given:
        if not item.lower().endswith(_LISTS):
            paths.append(os.path.abspath(item))
            continue
        try:
            with open(item, encoding="utf-8") as stream:
                lines = [line.strip() for line in stream]
        except (OSError, UnicodeDecodeError) as error:
            raise SossInputError(f"The list {item} cannot be read: {error}.") from error
        folder = os.path.dirname(os.path.abspath(item))
        paths += [os.path.join(folder, line) for line in lines if line and line[0] != "#"]
    seen = {os.path.realpath(path): path for path in paths}
    if len(seen) < len(paths):
        twice = next(path for path in paths if seen[os.path.realpath(path)] is not path)
        raise SossInputError(f"{twice} comes more than once.")
    return paths


def _exposures(one: Observation) -> list[Unit]:
    """Make a unit of each exposure of an observation; their segments stay together."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for path in one.files:
        header = fits.getheader(path)
        kind = "x1d"
        # jwst extracts SOSS spectra for CLEAR in the two subarrays only.
        if header.get("FILTER") != "CLEAR" or header.get("SUBARRAY") == "FULL":
            kind = "cal"
        # A file without these cards is an exposure by itself.
        known = tuple(header.get(card) for card in EXPOSURE_CARDS)
        own = path if all(value is None for value in known) else header.get("FILTER")
        groups.setdefault((kind, os.path.dirname(path), *known, own), []).append(path)
    return [
        Unit(Observation(_root(files[0]), one.target, one.exptype, one.kind, tuple(files)), key[0])
        for key, files in groups.items()
    ]


def _root(path: str) -> str:
    """Give the name of an exposure from that of one of its segments."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return re.sub(r"-seg\d+|_rate(ints)?$", "", stem)


def _products(unit: Unit) -> Iterable[str]:
    one = unit.observation
    try:
        if one.kind == "rate":
            yield from (spectra_name(path, unit.kind) for path in one.files)
        elif one.kind == "x1d":
            yield f"{product_root(one.files)}_sossratio.asdf"
    except SossInputError:
        # The name is wrong; the work on this one will say so.
        return


def _refuse_collisions(units: Sequence[Unit]) -> None:
    """Make sure that no two units write the same file, at the same time or one after the other."""
    owners: dict[str, Unit] = {}
    labels: dict[str, Unit] = {}
    for unit in units:
        for name in _products(unit):
            other = owners.setdefault(name, unit)
            if other is not unit or list(_products(unit)).count(name) > 1:
                raise SossInputError(
                    f"{other.observation.files[0]} and {unit.observation.files[-1]} would both be "
                    f"made into {name}; rename one, or make them in runs of their own."
                )
        if labels.setdefault(unit.label, unit) is not unit and unit.observation.kind != "ratio":
            raise SossInputError(f"Two observations have the name {unit.observation.name}.")


def _size(path: str) -> float:
    try:
        return float(os.path.getsize(path))
    except OSError:
        return 0.0
