"""Which files of a folder make a calibration, of what type each is, and why others are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soss_photcal_steps.asn.headers import LEVELS, FileRecord
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.standards import StandardsTable, as_number, normalise_name

__all__ = ["Choice", "ChooseOptions", "Chosen", "choose_files"]

_TYPES = {"calibration": "science", "stability": "stability", "test": "test"}
_TARGET_ACQUISITION = ("NIS_TACQ", "NIS_TACONFIRM")


@dataclass(frozen=True)
class ChooseOptions:
    """What is wanted.

    Attributes
    ----------
    prefer : str or None
        Level to be taken of an observation that has several: ``rate``, ``x1d`` or ``ratio``;
        the last that there is if None.
    programs : tuple of str
        Programs to be taken; all if empty.
    exclude : tuple of str
        Observations to be left out, such as ``6606/42``.
    test_stars : tuple of str
        Stars that only test the result.
    only_listed : bool
        Whether observations that the table of standards does not list are left out.
    """

    prefer: str | None = None
    programs: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    test_stars: tuple[str, ...] = ()
    only_listed: bool = False


@dataclass(frozen=True)
class Chosen:
    """A file that is taken.

    Attributes
    ----------
    record : FileRecord
        The file.
    exptype : {"science", "stability", "background", "test"}
        What it is for.
    star : str
        The star; for a background, the observation that it is for.
    note : str
        What is to be known of it.
    background_for : str
        Program and observation that a background is for.
    """

    record: FileRecord
    exptype: str
    star: str
    note: str = ""
    background_for: str = ""

    def member(self, path: str) -> dict[str, Any]:
        """Give the member of an association.

        Parameters
        ----------
        path : str
            Path as it is to stand there.

        Returns
        -------
        dict
            The member.
        """
        found = {"expname": path, "exptype": self.exptype}
        if self.background_for:
            found["background_for"] = self.background_for
        return found


@dataclass(frozen=True)
class Choice:
    """What is taken and what is not.

    Attributes
    ----------
    taken : tuple of Chosen
        By program, observation and segment.
    left : tuple of (str, str)
        Files that are left out, and why.
    missing : dict of str to tuple of str
        By star: observations that the table of standards lists and of which there is no file.
    """

    taken: tuple[Chosen, ...]
    left: tuple[tuple[str, str], ...]
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def choose_files(
    records: Sequence[FileRecord],
    table: StandardsTable,
    options: ChooseOptions | None = None,
) -> Choice:
    """Choose the files of a calibration.

    Parameters
    ----------
    records : sequence of FileRecord
        What there is.
    table : StandardsTable
        The standard stars, with the observations of the report JWST-STScI-009248 (Table 3).
    options : ChooseOptions, optional
        What is wanted.

    Returns
    -------
    Choice
        What is taken and what is not.
    """
    options = options or ChooseOptions()
    left: list[tuple[str, str]] = []
    stars: list[Chosen] = []
    backgrounds: list[FileRecord] = []
    for record in records:
        reason = _unfit(record, options)
        if reason:
            left.append((record.path, reason))
        elif record.is_background:
            backgrounds.append(record)
        else:
            chosen = _star(record, table, options)
            if isinstance(chosen, str):
                left.append((record.path, chosen))
            else:
                stars.append(chosen)
    stars, doubled = _one_level(stars, options.prefer)
    left += doubled
    found, useless = _backgrounds(backgrounds, stars)
    left += useless
    taken = sorted([*stars, *found], key=_place)
    seen = {one.record.identity for one in stars}
    missing = {}
    for star in table.stars:
        names = tuple(
            f"{known.program}/{known.observation}"
            for known in star.observations
            if f"{known.program}/{known.observation}" not in seen
            and (not options.programs or str(known.program) in options.programs)
        )
        if names:
            missing[star.name] = names
    return Choice(tuple(taken), tuple(sorted(left)), missing)


def _unfit(record: FileRecord, options: ChooseOptions) -> str:
    """Say why a file is of no use; nothing if it is."""
    if record.exp_type in _TARGET_ACQUISITION:
        return "a target acquisition"
    if record.exp_type != "NIS_SOSS" or record.instrument not in ("NIRISS", ""):
        what = record.exp_type or "no EXP_TYPE"
        return f"no SOSS exposure ({record.instrument or 'no instrument'}, {what})"
    if record.filter and record.filter != "CLEAR":
        return f"an exposure through {record.filter}, of which the pipeline extracts no spectra"
    if record.level not in LEVELS:
        return f"neither rates nor extracted spectra, but {record.level}"
    if record.level == "rate" and record.subtracted:
        return "its background is subtracted already"
    if options.programs and record.program not in options.programs:
        return f"program {record.program} is not asked for"
    if record.identity in options.exclude:
        return f"observation {record.identity} is excluded"
    if "?" in record.identity:
        return "it does not say its program and observation"
    return ""


def _star(record: FileRecord, table: StandardsTable, options: ChooseOptions) -> Chosen | str:
    """Find the star of an exposure, and what the exposure is for; or say why it is left out."""
    wanted = {normalise_name(name) for name in options.test_stars}
    named = next((one for one in record.targets if normalise_name(one) in wanted), None)
    try:
        star, _, warning = table.identify(record.targets, record.ra, record.dec, record.year)
    except SossInputError:
        if named is not None:
            return Chosen(record, "test", named)
        label = " or ".join(dict.fromkeys(record.targets)) or "a target without a name"
        return f"{label} is no standard star that the table knows"
    if named is not None or normalise_name(star.name) in wanted:
        return Chosen(record, "test", star.name, warning)
    known = star.observation(record.program, record.observation)
    if known is not None:
        return Chosen(record, _TYPES[known.role], star.name, warning)
    if options.only_listed:
        return f"observation {record.identity} is not in the table of standards"
    note = "not in the table of standards, taken for science"
    return Chosen(record, "science", star.name, f"{note}; {warning}" if warning else note)


def _one_level(
    stars: Sequence[Chosen], prefer: str | None
) -> tuple[list[Chosen], list[tuple[str, str]]]:
    """Keep one level of product of each observation, and integrations rather than their mean."""
    kept: list[Chosen] = []
    left: list[tuple[str, str]] = []
    groups: dict[str, list[Chosen]] = {}
    for one in stars:
        groups.setdefault(one.record.identity, []).append(one)
    for identity, group in groups.items():
        levels = {one.record.level for one in group}
        last = max(levels, key=LEVELS.index)
        level = prefer if prefer in levels else last
        wanted = [one for one in group if one.record.level == level]
        left += [
            (one.record.path, f"of {identity} the {level} product is taken, not the {rest}")
            for one in group
            if (rest := one.record.level) != level
        ]
        by_exposure: dict[Any, list[Chosen]] = {}
        for one in wanted:
            by_exposure.setdefault(one.record.exposure, []).append(one)
        for same in by_exposure.values():
            single = [one for one in same if one.record.integrations]
            kept += single or same
            if single:
                left += [
                    (one.record.path, "the integrations of this exposure are taken, not the mean")
                    for one in same
                    if not one.record.integrations
                ]
    return kept, left


def _backgrounds(
    backgrounds: Sequence[FileRecord], stars: Sequence[Chosen]
) -> tuple[list[Chosen], list[tuple[str, str]]]:
    """Give each background to the observation of its program that is nearest in time."""
    taken: list[Chosen] = []
    left: list[tuple[str, str]] = []
    for record in backgrounds:
        if record.level != "rate":
            left.append((record.path, f"spectra of a background ({record.level})"))
            continue
        same = [one.record for one in stars if one.record.program == record.program]
        rates = [one for one in same if one.level == "rate"]
        if not rates:
            why = "are no rates" if same else "is none here"
            left.append(
                (record.path, f"a background, but of program {record.program} there {why} of a "
                 "standard that it could serve")
            )  # fmt: skip
            continue
        when = record.mjd or 0.0
        owner = min(rates, key=lambda one: abs((one.mjd or 0.0) - when))
        taken.append(
            Chosen(record, "background", f"for {owner.identity}", background_for=owner.identity)
        )
    means = {(one.record.identity, one.record.exposure) for one in taken if one.record.integrations}
    doubled = [
        one
        for one in taken
        if not one.record.integrations and (one.record.identity, one.record.exposure) in means
    ]
    left += [(one.record.path, "the integrations of this exposure are taken") for one in doubled]
    return [one for one in taken if one not in doubled], left


def _place(one: Chosen) -> tuple[Any, ...]:
    record = one.record
    program, observation = (
        -1 if number is None else number
        for number in (as_number(record.program), as_number(record.observation))
    )
    return program, observation, record.exposure, record.segment, record.name
