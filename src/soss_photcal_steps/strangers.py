"""YAML, JSON and ASDF from strangers: nothing in them is run, and none can fill the memory.

A YAML text of some hundred bytes can stand for more entries than fit into any memory, because
an alias repeats what it names, and that can hold aliases again.  What a text stands for is
counted before anything is made of it.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import yaml

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import open_data
from soss_photcal_steps.fitsblocks import scan_fits

__all__ = [
    "check_aliases",
    "check_asdf",
    "check_asdf_extension",
    "check_table",
    "check_text",
    "parse_yaml",
    "read_json",
]

# A text may stand for so many entries, and so many times those that it has.
_ENTRIES, _TIMES = 10_000, 20
# The tree of an ASDF file ends before its binary blocks; a larger one is not a product's.
_LARGEST_TREE = 2**26
_TREE_END = b"\n...\n"
# Control characters, and halves of characters, which cannot be written to a file.
_ODD = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
# What an alias repeats has a name that begins like this, also in text, where it means nothing.
_ANCHOR = re.compile(rb"&\S")
# What refers to another file looks like this; so do other things.  Sources that begin with fits:
# are extensions of the file itself.
_OUTSIDE = re.compile(rb"\$ref|core/external|source['\"]?\s*:\s*[^\s\d-]")
_OWN = re.compile(r"-?\d+|fits:[^:/]*")


def parse_yaml(text: str) -> Any:
    """Make plain Python values of a YAML text.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    object
        Mappings, lists, text, numbers and dates.

    Raises
    ------
    ValueError
        If it is not YAML of plain values, or its aliases stand for too much.
    """
    try:
        # The parser of libyaml takes a tenth of the time.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        check_aliases(text, loader)
        return yaml.load(text, Loader=loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        # A date that does not exist and a number of too many digits are no errors of yaml.
        raise ValueError(reason(error)) from None


def check_aliases(text: str | bytes, loader: type | None = None) -> None:
    """Make sure that the aliases of a YAML text stand for no more than can be meant.

    Parameters
    ----------
    text : str or bytes
        The text.
    loader : type, optional
        Loader of yaml that parses it; nothing is constructed.

    Raises
    ------
    ValueError
        If there are too many entries, or an entry holds itself.
    yaml.YAMLError
        If it is not YAML.
    """
    root = yaml.compose(text, Loader=loader or yaml.SafeLoader)
    sizes: dict[int, int] = {}
    total = _count(root, sizes, set()) if root is not None else 0
    if total > max(_ENTRIES, _TIMES * len(sizes)):
        raise ValueError(
            f"its aliases make {len(sizes)} entries stand for more than {_TIMES} times as many"
        )


def _count(node: yaml.Node, sizes: dict[int, int], above: set[int]) -> int:
    """Count the entries that a node stands for, those of aliases each time."""
    key = id(node)
    if key in above:
        raise ValueError("an entry of it holds itself")
    if key in sizes:
        return sizes[key]
    above.add(key)
    total = 1
    if isinstance(node, yaml.SequenceNode):
        total += sum(_count(one, sizes, above) for one in node.value)
    elif isinstance(node, yaml.MappingNode):
        total += sum(_count(one, sizes, above) for pair in node.value for one in pair)
    elif _ODD.search(node.value):
        raise ValueError(f"{node.value[:20]!r} holds characters that are no text")
    above.remove(key)
    sizes[key] = total
    return total


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file, such as an association.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    object
        Its content.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not JSON, or nested too deeply.
    """
    with open(path, encoding="utf-8") as stream:
        try:
            content = json.load(stream)
            _check_strings(content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
    return content


def _check_strings(value: Any) -> None:
    """Refuse text that can be no name of a file and cannot be printed."""
    if isinstance(value, str) and _ODD.search(value):
        raise ValueError(f"{value[:20]!r} holds characters that are no text")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for one in value:
            _check_strings(one)


def check_text(path: str | os.PathLike[str]) -> None:
    """Make sure that a file is text: UTF-8 without control characters.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not text.
    """
    with open(path, encoding="utf-8") as stream:
        while content := stream.read(2**20):
            if _ODD.search(content):
                raise ValueError("it holds characters that are no text")


def check_table(
    path: str | os.PathLike[str],
    *,
    comment: str | None = None,
    longest_line: int | None = None,
    most_lines: int | None = None,
) -> None:
    """Make sure that a file is text that can be read as a table.

    Parameters
    ----------
    path : path
        The file.
    comment : str, optional
        What lines begin with whose quotation marks do not count; all count by default.
    longest_line : int, optional
        Largest number of characters of a line, with its end; any by default.
    most_lines : int, optional
        Largest number of lines; any by default.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not text, a quotation does not end, a line is longer, or there are more.
    """
    check_text(path)
    quotes = longest = 0
    with open(path, encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if most_lines is not None and number > most_lines:
                raise ValueError(f"it has more than {most_lines} lines")
            longest = max(longest, len(line))
            if comment is None or not line.lstrip().startswith(comment):
                quotes += line.count('"')
    if quotes % 2:
        # Without its end, quoted text swallows the rows that follow.
        raise ValueError("a quotation mark has no second one")
    if longest_line is not None and longest > longest_line:
        # Every row of the table would be as wide in memory.
        raise ValueError(f"it has a line of {longest} characters")


def check_asdf(path: str | os.PathLike[str], wanted: str = "product") -> None:
    """Make sure that the tree of an ASDF file can be opened without danger.

    asdf runs nothing, but it follows aliases, and an array may say that it is in another file or
    in the net.  No product of this package, and no reference file of the pipeline, says so.

    Parameters
    ----------
    path : path
        The file.
    wanted : str, optional
        What is needed, for the message.

    Raises
    ------
    SossInputError
        If the file cannot be read, or its tree is none, or stands for too much.
    """
    try:
        with open(path, "rb") as stream:
            if stream.read(5) != b"#ASDF":
                raise SossInputError(f"{path} is not an ASDF file; a {wanted} is needed.")
            stream.seek(0)
            head = stream.read(_LARGEST_TREE)
        _check_tree(head)
    except OSError as error:
        raise SossInputError(f"The file {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, SossInputError):
            raise
        raise SossInputError(
            f"The file {path} is not a readable ASDF file: {reason(error)}."
        ) from error


def check_asdf_extension(path: str | os.PathLike[str]) -> None:
    """Do the same for the trees of ASDF within a FITS file that has passed `check_fits`.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    SossInputError
        If a tree stands for too much.
    """
    try:
        with open_data(path) as stream:
            for part in scan_fits(stream, stream.seek(0, os.SEEK_END)):
                if part.name == "ASDF":
                    stream.seek(part.data_start)
                    _check_tree(stream.read(min(part.end - part.data_start, _LARGEST_TREE)))
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise SossInputError(
            f"The ASDF extension of the file {path} cannot be read: {reason(error)}."
        ) from error


def _check_tree(content: bytes) -> None:
    """Check the tree at the beginning of ASDF."""
    end = content.find(_TREE_END)
    tree = content[: end if end >= 0 else None]
    # Parsing all of it twice would take as long as opening it.
    loader = getattr(yaml, "CSafeLoader", None)
    if _ANCHOR.search(tree):
        check_aliases(tree, loader)
    if _OUTSIDE.search(tree):
        _check_inside(yaml.compose(tree, Loader=loader or yaml.SafeLoader), set())


def _check_inside(node: yaml.Node | None, seen: set[int]) -> None:
    """Refuse what asdf would look for in another file, or in the net."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if "core/external" in node.tag:
        raise ValueError("it refers to another file")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            is_text = isinstance(value, yaml.ScalarNode) and not _OWN.fullmatch(value.value)
            if key.value == "$ref" or (
                "core/ndarray" in node.tag and key.value == "source" and is_text
            ):
                raise ValueError(f"it refers to {value.value!r}, which is not in the file")
            _check_inside(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            _check_inside(one, seen)
