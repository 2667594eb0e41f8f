"""What has been made already, so that a run that was broken off can go on.

The state is a small file beside the products.  Of every stage it holds a key, which is a
checksum over the stage's inputs (their checksums), its parameters and the versions of the
software, and name and checksum of each product.  A stage is not run again if its key is the
same and its products are there, unchanged.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path, fingerprint
from soss_photcal_steps.provenance import plain

__all__ = ["State", "stage_key"]

_FORMAT = 1


def stage_key(inputs: Iterable[str], parameters: Mapping[str, Any], versions: Iterable[str]) -> str:
    """Make the key of a stage.

    Parameters
    ----------
    inputs : iterable of str
        Its input files.
    parameters : mapping
        Its parameters.
    versions : iterable of str
        Versions of what it runs, and the CRDS context.

    Returns
    -------
    str
        Hexadecimal SHA-256.

    Raises
    ------
    SossInputError
        If an input cannot be read.
    """
    prints = sorted((p.name, p.size, p.sha256) for p in (fingerprint(path) for path in inputs))
    text = json.dumps([prints, plain(parameters), sorted(versions)], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


class State:
    """The state of a run.

    Parameters
    ----------
    path : str
        Its file; what is not readable there counts as nothing.
    force : bool
        Whether everything is to be made again.
    """

    def __init__(self, path: str, force: bool = False) -> None:
        self.path = path
        self._stages: dict[str, dict[str, Any]] = {}
        if force or not os.path.isfile(path):
            return
        try:
            with open(path, encoding="utf-8") as stream:
                content = json.load(stream)
            if content.get("format") == _FORMAT and isinstance(content.get("stages"), dict):
                self._stages = content["stages"]
        except (OSError, ValueError, AttributeError):
            # A damaged state means only that everything is made again.
            self._stages = {}

    def products(self, stage: str, key: str) -> list[str] | None:
        """Give the products of a stage, if it need not be run.

        Parameters
        ----------
        stage : str
            Name of the stage.
        key : str
            Its present key.

        Returns
        -------
        list of str or None
            Paths; None if the stage is to be run.
        """
        entry = self._stages.get(stage)
        if not isinstance(entry, dict) or entry.get("key") != key:
            return None
        folder = os.path.dirname(self.path)
        paths = []
        for product in entry.get("products", ()):
            path = os.path.join(folder, str(product.get("name")))
            try:
                if fingerprint(path).sha256 != product.get("sha256"):
                    return None
            except SossInputError:
                return None
            paths.append(path)
        return paths or None

    def done(self, stage: str, key: str, products: Iterable[str]) -> None:
        """Write down that a stage is done.

        Parameters
        ----------
        stage : str
            Name of the stage.
        key : str
            Its key.
        products : iterable of str
            Paths of its products.

        Raises
        ------
        SossInputError
            If the state cannot be written.
        """
        folder = os.path.dirname(self.path)
        entries = []
        for path in products:
            entry = fingerprint(path)
            entries.append({"name": os.path.relpath(path, folder), "sha256": entry.sha256})
        self._stages[stage] = {"key": key, "products": entries}
        self.save()

    def take(self, other: State, stages: Iterable[str] | None = None) -> None:
        """Take over what another state knows; it is not written yet.

        Parameters
        ----------
        other : State
            The other state, of the same folder.
        stages : iterable of str, optional
            Names of stages; by default all that it has.
        """
        wanted = other._stages if stages is None else stages
        found = {name: other._stages[name] for name in wanted if name in other._stages}
        self._stages = {**self._stages, **found}

    def save(self) -> None:
        """Write the state.

        Raises
        ------
        SossInputError
            If it cannot be written.
        """
        content = {"format": _FORMAT, "stages": self._stages}
        try:
            with (
                atomic_path(self.path) as temporary,
                open(temporary, "w", encoding="utf-8") as stream,
            ):
                json.dump(content, stream, indent=1, sort_keys=True)
        except OSError as error:
            raise SossInputError(
                f"{self.path} cannot be written: {error.strerror or error}."
            ) from error
