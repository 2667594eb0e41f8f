"""The sub-command ``soss-photcal asn``.

Only the parser is made at import; what reads files is loaded when the command runs.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soss_photcal_steps.errors import SossInputError, reason

if TYPE_CHECKING:
    from soss_photcal_steps.asn.choose import Choice
    from soss_photcal_steps.asn.headers import FileRecord

__all__ = ["add_command", "run_command"]

_ENDINGS = (".fits", ".fits.gz", "_sossratio.asdf")


def add_command(commands: Any) -> None:
    """Add the sub-command to a parser.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        What ``add_subparsers`` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "asn",
        help="make the association of a calibration from the headers of files, or check one",
        description="Make or check the association that strun soss_photcal, soss-photcal run and "
        "strun soss_photom_combine take.",
    )
    kinds = parser.add_subparsers(dest="what", required=True)
    build = kinds.add_parser(
        "build",
        help="from files, folders, or an association such as asn_from_list makes",
        description="Look into the headers of files and make an association of those that are "
        "observations of standard stars: stars by name and position, roles by the table of "
        "standards, which has all observations of the report JWST-STScI-009248. What is left out "
        "is listed with the reason.",
    )
    build.add_argument("inputs", nargs="+", metavar="PATH", help="folders, files or associations")
    build.add_argument(
        "-o", "--output", required=True, metavar="ASN",
        help="association to be written (.json); it must not exist",
    )  # fmt: skip
    build.add_argument(
        "--name", help="name of the product (default: the file name without _asn.json)"
    )
    build.add_argument(
        "--recursive", action="store_true", help="look into folders below those given, too"
    )
    build.add_argument(
        "--prefer", choices=("rate", "x1d", "ratio"),
        help="what to take of an observation that is there as rates, spectra and ratio; the last "
        "of these by default",
    )  # fmt: skip
    build.add_argument(
        "--program", action="append", default=[], metavar="N", help="only this program; repeatable"
    )
    build.add_argument(
        "--exclude", action="append", default=[], metavar="PROGRAM/OBS",
        help="leave this observation out; repeatable",
    )  # fmt: skip
    build.add_argument(
        "--test", action="append", default=[], metavar="STAR",
        help="take this star as a test of the result only, whether it is a standard or not; "
        "repeatable",
    )  # fmt: skip
    build.add_argument(
        "--only-listed", action="store_true",
        help="leave out observations that the table of standards does not list",
    )  # fmt: skip
    build.add_argument("--standards", metavar="YAML", help="table of standard stars of your own")
    check = kinds.add_parser(
        "check",
        help="check an association before a long run",
        description="Check an association: its form, that its files are there and can be read, "
        "which belong together, and that the stars are known. The exit status is 0 only if all "
        "of it can be used.",
    )
    check.add_argument("asn", metavar="ASN", help="the association (.json)")
    check.add_argument("--standards", metavar="YAML", help="table of standard stars of your own")


def run_command(options: argparse.Namespace) -> tuple[int, str]:
    """Run the sub-command.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says.

    Returns
    -------
    status : int
        0 if there is an association that can be used, else 1.
    text : str
        What is to be printed.

    Raises
    ------
    SossInputError
        If an input cannot be read, or nothing is left.
    """
    if options.what == "check":
        return _check(options)
    return _build(options)


def _build(options: argparse.Namespace) -> tuple[int, str]:
    from soss_photcal_steps.asn.choose import ChooseOptions, choose_files
    from soss_photcal_steps.files import atomic_path
    from soss_photcal_steps.level3 import short_number
    from soss_photcal_steps.ratio.standards import load_standards

    output = Path(options.output)
    if output.suffix.lower() != ".json":
        raise SossInputError(f"An association is a .json file, not {output.name}.")
    if output.exists() or output.is_symlink():
        raise SossInputError(f"{output} exists already; give another --output.")
    if not output.parent.is_dir():
        raise SossInputError(f"The folder {output.parent} does not exist.")
    for text in options.exclude:
        if text.count("/") != 1:
            raise SossInputError(
                f"--exclude takes PROGRAM/OBSERVATION such as 6606/42, not {text}."
            )
    table = load_standards(options.standards)
    records, broken = _read(_list(options.inputs, options.recursive))
    choice = choose_files(
        records,
        table,
        ChooseOptions(
            prefer=options.prefer,
            programs=tuple(map(short_number, options.program)),
            exclude=tuple("/".join(map(short_number, text.split("/"))) for text in options.exclude),
            test_stars=tuple(options.test),
            only_listed=options.only_listed,
        ),
    )
    lines = _report(choice, broken, bool(options.program))
    if not any(one.exptype in ("science", "stability") for one in choice.taken):
        first = "Nothing is left to calibrate with, and nothing is written."
        raise SossInputError("\n".join([first, *lines]))
    name = options.name or output.name.removesuffix(".json").removesuffix("_asn")
    folder = output.parent.resolve()
    members = [one.member(os.path.relpath(one.record.path, folder)) for one in choice.taken]
    with atomic_path(output) as place:
        Path(place).write_text(json.dumps(_association(name, members), indent=2) + "\n")
    lines.append(f"wrote {output}: {len(members)} members")
    return 0, "\n".join(lines)


def _association(name: str, members: list[dict[str, Any]]) -> dict[str, Any]:
    from soss_photcal_steps import __version__

    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise SossInputError(f"The product cannot have the name {name!r}; no path is wanted.")
    return {
        "asn_type": "None",
        "asn_rule": "soss-photcal asn",
        "asn_id": "a3001",
        "asn_pool": "none",
        "program": "noprogram",
        "version_id": None,
        "code_version": f"soss_photcal_steps {__version__}",
        "degraded_status": "No known degraded exposures in association.",
        "constraints": "standard stars of NIRISS SOSS",
        "products": [{"name": name, "members": members}],
    }


def _list(inputs: Sequence[str], recursive: bool) -> list[str]:
    """List the files that are meant."""
    found: list[str] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            within = path.rglob("*") if recursive else path.iterdir()
            found += [
                str(one)
                for one in sorted(within)
                if one.is_file() and one.name.lower().endswith(_ENDINGS) and one.name[0] != "."
            ]
        elif path.suffix.lower() == ".json":
            found += _members(path)
        elif path.is_file():
            found.append(text)
        else:
            raise SossInputError(f"{text} does not exist.")
    if not found:
        raise SossInputError(
            f"There is no FITS file and no ratio product in {', '.join(map(str, inputs))}."
        )
    # A file that is given twice, or by a link too, is one.
    return list({os.path.realpath(one): one for one in reversed(found)}.values())[::-1]


def _members(path: Path) -> list[str]:
    from soss_photcal_steps.strangers import read_json

    try:
        products = read_json(path)["products"]
        names = [member["expname"] for product in products for member in product["members"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SossInputError(f"{path} is not a readable association: {reason(error)}.") from error
    if not all(isinstance(name, str) for name in names):
        raise SossInputError(f"{path} has a member whose expname is no text.")
    return [str(path.parent / name) for name in names]


def _read(paths: Sequence[str]) -> tuple[list[FileRecord], list[tuple[str, str]]]:
    from soss_photcal_steps.asn.headers import read_record

    records, broken = [], []
    for path in paths:
        try:
            records.append(read_record(path))
        except SossInputError as error:
            broken.append((path, str(error)))
    return records, broken


def _report(choice: Choice, broken: Sequence[tuple[str, str]], chosen: bool) -> list[str]:
    """Say what is taken, what is not, and what is missing."""
    lines = []
    groups: dict[tuple[str, str, str], list[Any]] = {}
    for one in choice.taken:
        groups.setdefault((one.record.identity, one.exptype, one.star), []).append(one)
    if groups:
        lines.append("taken:")
    for (identity, exptype, star), group in groups.items():
        level, count = group[0].record.level, len(group)
        files = f"{count} {level}" + (" files" if count > 1 else "")
        note = f"; {group[0].note}" if group[0].note else ""
        lines.append(f"  {identity:>9}  {exptype:<10}  {star}, {files}{note}")
    left = [*choice.left, *broken]
    if left:
        reasons: dict[str, list[str]] = {}
        for path, why in left:
            reasons.setdefault(why, []).append(os.path.basename(path))
        lines.append(f"left out ({len(left)}):")
        lines += [f"  {', '.join(names)}: {why}" for why, names in reasons.items()]
    if choice.missing:
        where = " of these programs" if chosen else ""
        count = sum(map(len, choice.missing.values()))
        lines.append(f"not here of what the table of standards lists{where} ({count}):")
        lines += [f"  {star}: {', '.join(names)}" for star, names in choice.missing.items()]
    return lines


def _check(options: argparse.Namespace) -> tuple[int, str]:
    from soss_photcal_steps.asn.headers import read_record
    from soss_photcal_steps.photcal.members import group_members, read_association
    from soss_photcal_steps.ratio.standards import load_standards

    table = load_standards(options.standards)
    name, members = read_association(options.asn)
    observations, failures = group_members(members)
    problems = [f"{what}: {why}" for what, why in failures]
    lines = [f"{options.asn}: product {name}, {len(observations)} observations"]
    angles, photoms = [], set()
    for one in observations:
        records = []
        for path in one.files:
            try:
                records.append(read_record(path))
            except SossInputError as error:
                problems.append(f"{one.name}: {error}")
        if not records:
            continue
        first = records[0]
        angles += [record.pwcpos for record in records if record.pwcpos is not None]
        photoms |= {record.photom for record in records if record.photom}
        star = _standard(first, one.exptype, table, problems, one.name)
        background = f", {len(one.background)} background" if one.background else ""
        limits = f", {len(one.restrictions)} restrictions" if one.restrictions else ""
        label = first.identity if one.kind == "ratio" else one.name
        files = f"{len(records)} {one.kind}{background}{limits}"
        lines.append(f"  {label:>9}  {one.exptype:<10}  {star}, {files}")
    if angles:
        lines.append(f"PWCPOS {min(angles):.3f} to {max(angles):.3f} deg")
    if len(photoms) > 1:
        problems.append(
            f"the spectra went through different photom files: {', '.join(sorted(photoms))}"
        )
    if problems:
        lines.append(f"problems ({len(problems)}):")
        lines += [f"  {text}" for text in problems]
        return 1, "\n".join(lines)
    return 0, "\n".join([*lines, "all of it can be used"])


def _standard(record: FileRecord, exptype: str, table: Any, problems: list[str], label: str) -> str:
    """Name the star of an observation; one that is combined must be known."""
    try:
        star, _, warning = table.identify(record.targets, record.ra, record.dec, record.year)
    except SossInputError as error:
        if exptype != "test":
            problems.append(f"{label}: {error}")
        return " or ".join(dict.fromkeys(record.targets)) or "no target name"
    if warning:
        problems.append(f"{label}: {warning}")
    return str(star.name)
