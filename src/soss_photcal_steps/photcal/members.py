"""The members of a photometric calibration: what they are, and which belong together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from astropy.io import fits

from soss_photcal_steps.combine.restrictions import member_restrictions
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import check_fits
from soss_photcal_steps.level3 import read_product, short_number

__all__ = [
    "MEMBER_TYPES",
    "MODEL_FIELDS",
    "Member",
    "Observation",
    "group_members",
    "read_association",
]

#: Types of members: standards; dedicated backgrounds; visits that count as one curve for a star;
#: stars that only test the result.
MEMBER_TYPES = ("science", "background", "stability", "test")

#: What a member for a test may say of its star: a model (a file; beside the association, if it is
#: no absolute path), its 2MASS Ks magnitude, its extinction A(V), and its kind.
MODEL_FIELDS = ("model", "ks", "av", "kind")


@dataclass(frozen=True)
class Member:
    """One file of an association.

    Attributes
    ----------
    path : str
        The file.
    exptype : str
        One of `MEMBER_TYPES`.
    kind : {"rate", "x1d", "ratio"}
        What it holds: count rates, extracted spectra, or a ratio product.
    program, observation : str
        Numbers without leading zeros.
    target : str
        Target name.
    segment : int
        Segment of the exposure.
    mjd : float or None
        Start of the exposure, MJD.
    background_for : str
        Program and observation that a background is for; empty if not said.
    restrictions : tuple of mapping
        What is not to be combined, as `soss_photcal_steps.combine.restrictions` reads it.
    model : dict
        Of a test star, what it is compared with; see `MODEL_FIELDS`.
    """

    path: str
    exptype: str
    kind: str
    program: str = ""
    observation: str = ""
    target: str = ""
    segment: int = 1
    mjd: float | None = None
    background_for: str = ""
    restrictions: tuple[Mapping[str, Any], ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Program and observation, such as ``1091/2``."""
        return f"{self.program}/{self.observation}"


@dataclass(frozen=True)
class Observation:
    """All files of one observation.

    Attributes
    ----------
    name : str
        Program and observation, such as ``1091/2``.
    target : str
        Target name.
    exptype : {"science", "stability", "test"}
        What it is for.
    kind : {"rate", "x1d", "ratio"}
        What its files hold.
    files : tuple of str
        Segments in order.
    background : tuple of str
        Dedicated background exposures.
    restrictions : tuple of mapping
        What is not to be combined.
    model : dict
        Of a test star, what it is compared with.
    """

    name: str
    target: str
    exptype: str
    kind: str
    files: tuple[str, ...]
    background: tuple[str, ...] = ()
    restrictions: tuple[Mapping[str, Any], ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)


def read_association(path: str | os.PathLike[str]) -> tuple[str, list[dict[str, Any]]]:
    """Read a level-3 style association.

    Parameters
    ----------
    path : path
        The association, with one product.

    Returns
    -------
    name : str
        Name of the product.
    members : list of dict
        Its members, with the path in ``expname``; without those that have ``excluded``.

    Raises
    ------
    SossInputError
        If it is not readable, has not one product, a member has no name or an unknown type, or
        a file comes twice.
    """
    label = os.path.basename(path)
    name, members = read_product(path)
    folder = os.path.dirname(os.path.abspath(path))
    seen: set[str] = set()
    for number, member in enumerate(members, 1):
        file = member.get("expname")
        kind = str(member.get("exptype", "science")).lower()
        if not isinstance(file, str) or not file.strip():
            raise SossInputError(f"Member {number} of {label} has no expname.")
        if kind not in MEMBER_TYPES:
            raise SossInputError(
                f"Member {file} of {label} has the type {kind}; one of "
                f"{', '.join(MEMBER_TYPES)} is needed."
            )
        full = os.path.realpath(os.path.join(folder, file))
        if full in seen:
            raise SossInputError(f"{file} comes more than once in {label}.")
        seen.add(full)
        member.update(expname=os.path.join(folder, file), exptype=kind)
        member_restrictions(member.get("restrictions"), file)
        _check_model(member, file, folder)
    if not any(member["exptype"] in ("science", "stability") for member in members):
        raise SossInputError(f"{label} has no member of the type science or stability.")
    return name, members


def _check_model(member: dict[str, Any], file: str, folder: str) -> None:
    """Make sure of what is said of a test star; the path of its model becomes a whole one."""
    for key in ("ks", "av"):
        value = member.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise SossInputError(f"The {key} of {file} is {value!r}, not a magnitude.")
    if member.get("kind", "A") not in ("hot", "A", "solar"):
        raise SossInputError(f"The kind of {file} is {member['kind']!r}, not hot, A or solar.")
    model = member.get("model")
    if model is None:
        return
    if not isinstance(model, str):
        raise SossInputError(f"The model of {file} is {model!r}, not a file.")
    beside = os.path.join(folder, model)
    if os.path.isfile(beside):
        member["model"] = beside


def _identify(member: dict[str, Any]) -> Member:
    """Look into a file for what it is."""
    path, exptype = member["expname"], member["exptype"]
    wanted = str(member.get("background_for", "") or "")
    limits = tuple(member.get("restrictions") or ())
    model = {key: member[key] for key in MODEL_FIELDS if member.get(key) is not None}
    if path.lower().endswith(".asdf"):
        if not os.path.isfile(path):
            raise SossInputError(f"The file {path} does not exist.")
        return Member(
            path, exptype, "ratio", background_for=wanted, restrictions=limits, model=model
        )
    check_fits(path)
    with fits.open(path, memmap=True) as hdus:
        header = hdus[0].header
        names = [hdu.name for hdu in hdus]
    if header.get("EXP_TYPE") != "NIS_SOSS":
        raise SossInputError(f"{path} has EXP_TYPE {header.get('EXP_TYPE')}, not NIS_SOSS.")
    if "EXTRACT1D" in names:
        kind = "x1d"
    elif "SCI" in names:
        kind = "rate"
    else:
        raise SossInputError(f"{path} holds neither rates nor extracted spectra.")
    segment, start = header.get("EXSEGNUM", 1), header.get("EXPSTART")
    return Member(
        path, exptype, kind,
        short_number(header.get("PROGRAM")), short_number(header.get("OBSERVTN")),
        str(header.get("TARGNAME") or header.get("TARGPROP") or ""),
        segment if isinstance(segment, int) else 1,
        float(start) if isinstance(start, int | float) else None, wanted, limits, model,
    )  # fmt: skip


def group_members(
    members: Sequence[dict[str, Any]],
) -> tuple[list[Observation], list[tuple[str, str]]]:
    """Sort members into observations.

    A background belongs to the observation that its ``background_for`` names, else to the one
    of its own program that is nearest in time.

    Parameters
    ----------
    members : sequence of dict
        Members as `read_association` gives them.

    Returns
    -------
    observations : list of Observation
        In the order of the association.
    failures : list of (str, str)
        Files that cannot be used, and why.
    """
    found: list[Member] = []
    failures: list[tuple[str, str]] = []
    for member in members:
        try:
            found.append(_identify(member))
        except SossInputError as error:
            failures.append((os.path.basename(member["expname"]), str(error)))
    groups: dict[tuple[str, str], list[Member]] = {}
    for number, one in enumerate(found):
        if one.exptype == "background":
            continue
        # A ratio product stands by itself; its numbers are inside.
        key = (one.exptype, one.identity if one.kind != "ratio" else f"ratio {number}")
        groups.setdefault(key, []).append(one)
    observations, firsts = [], []
    for (exptype, name), parts in groups.items():
        kinds = {part.kind for part in parts}
        if len(kinds) > 1:
            names = ", ".join(os.path.basename(part.path) for part in parts)
            failures.append(
                (name, f"Observation {name} comes as {' and '.join(sorted(kinds))}: {names}.")
            )
            continue
        parts.sort(key=lambda part: (part.segment, part.path))
        label = name if parts[0].kind != "ratio" else os.path.basename(parts[0].path)
        limits = tuple(limit for part in parts for limit in part.restrictions)
        observations.append(
            Observation(
                label,
                parts[0].target,
                exptype,
                parts[0].kind,
                tuple(part.path for part in parts),
                restrictions=limits,
                model=parts[0].model,
            )
        )
        firsts.append(parts[0])
    for one in found:
        if one.exptype != "background":
            continue
        place = _owner(one, firsts)
        if place is None:
            failures.append(
                (
                    os.path.basename(one.path),
                    f"The background {os.path.basename(one.path)} belongs to no observation of "
                    "rates; say which with background_for.",
                )
            )
            continue
        owner = observations[place]
        observations[place] = replace(owner, background=(*owner.background, one.path))
    return observations, failures


def _owner(background: Member, firsts: Sequence[Member]) -> int | None:
    rates = [i for i, one in enumerate(firsts) if one.kind == "rate"]
    if background.background_for:
        named = [i for i in rates if firsts[i].identity == background.background_for]
        return named[0] if named else None
    same = [i for i in rates if firsts[i].program == background.program]
    if not same:
        return None
    when = background.mjd or 0.0
    return min(same, key=lambda i: abs((firsts[i].mjd or 0.0) - when))
