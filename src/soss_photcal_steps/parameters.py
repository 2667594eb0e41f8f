"""Parameter files of stpipe: refused with a sentence where they are damaged or not meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.strangers import check_asdf, check_text

__all__ = ["check_class", "check_parameter_file", "refuse_in_a_sentence"]

# Parameters are some lines of text.
_LARGEST = 2**20
_UNKNOWN = re.compile(r"Extra value '(?P<name>.*)' in (?P<place>\S+)")


def check_parameter_file(path: str | os.PathLike[str]) -> None:
    """Make sure that a parameter file is whole, and can be opened without danger.

    Parameters
    ----------
    path : path
        An ASDF file as ``strun --save-parameters`` writes it, or a text of the older kind.

    Raises
    ------
    SossInputError
        If it is missing, too large, truncated or no text.
    """
    if not os.path.isfile(path):
        raise SossInputError(f"The parameter file {path} does not exist.")
    try:
        size = os.path.getsize(path)
        if size > _LARGEST:
            raise SossInputError(f"{path} has {size} bytes, which no parameter file has.")
        with open(path, "rb") as stream:
            content = stream.read()
        check_text(path)
        if not content.strip():
            raise SossInputError(f"The parameter file {path} is empty.")
        if not content.startswith(b"#ASDF"):
            return
        check_asdf(path, "parameter file")
        if not re.search(rb"\n\.\.\.\r?\n?$", content):
            raise SossInputError(f"The parameter file {path} is truncated; its end is missing.")
        tree = yaml.compose(content.decode(), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        if isinstance(error, SossInputError):
            raise
        raise SossInputError(
            f"The parameter file {path} cannot be read: {reason(error)}."
        ) from error
    if any(":python/" in tag for tag in _tags(tree)):
        raise SossInputError(
            f"The parameter file {path} asks for Python objects; only plain values are taken."
        )


def _tags(root: yaml.Node | None) -> Iterator[str]:
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node.tag
        if isinstance(node, yaml.MappingNode):
            waiting += [one for pair in node.value for one in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def check_class(config: Mapping[str, Any], wanted: type, path: str | os.PathLike[str]) -> None:
    """Make sure that a parameter file is meant for a step.

    Parameters
    ----------
    config : mapping
        What the file holds.
    wanted : type
        The class of the step.
    path : path
        The file, for the message.

    Raises
    ------
    SossInputError
        If it names another class.
    """
    said = config.get("class")
    names = {one.__name__ for one in wanted.__mro__} - {"Step", "Pipeline", "object"}
    names.add(str(getattr(wanted, "class_alias", "")))
    if said and str(said).rpartition(".")[2] not in names:
        raise SossInputError(
            f"The parameter file {path} is for {reason(ValueError(said))}, not for "
            f"{wanted.__name__}."
        )


@contextmanager
def refuse_in_a_sentence(label: str, path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Turn whatever stpipe and configobj say of parameters into one sentence.

    Parameters
    ----------
    label : str
        Name of the step.
    path : path or None
        The parameter file, if there is one.

    Yields
    ------
    None
        While parameters are read.

    Raises
    ------
    SossInputError
        If they cannot be used.
    """
    try:
        yield
    except (SossInputError, MemoryError):
        raise
    except Exception as error:
        # configobj and stpipe have kinds of their own, which differ between versions.
        found = _UNKNOWN.fullmatch(str(error))
        why = reason(error)
        if found is not None:
            place = "" if found["place"] == "root" else f" of {found['place']}"
            why = f"there is no parameter {found['name']}{place}"
        elif "'%YAML" in why:
            # What is no parameter file of ASDF, stpipe takes for the older kind.
            why = "class, name, parameters or steps are missing, or of another kind"
        elif isinstance(error, AttributeError | TypeError | KeyError):
            why = "one of them has a value of a kind that no parameter has"
        where = f" in {path}" if path else ""
        raise SossInputError(f"The parameters of {label}{where} cannot be used: {why}.") from error
