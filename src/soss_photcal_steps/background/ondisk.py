"""A data model of a file whose pixels are read when they are first asked for.

``datamodels.open`` reads everything.  After a long series has been streamed from file to file,
that would take more memory and time than the step itself, and ``strun`` drops the model anyway.
"""

from __future__ import annotations

import os
from typing import Any

from soss_photcal_steps.ratefile import RateFile
from soss_photcal_steps.ratelayout import CUBES
from soss_photcal_steps.unread import is_stand_in

__all__ = ["read_on_demand"]


class _OnDemand:
    """What is put before the class of a model; see `read_on_demand`."""

    _path: str

    def __getattr__(self, name: str) -> Any:
        if name.upper() in CUBES or name == "data":
            self._read_pixels(name)
        return super().__getattr__(name)  # type: ignore[misc]  # it is the model's

    def _read_pixels(self, *names: str) -> None:
        """Put the pixels of the file where only stand-ins are."""
        tree = self.__dict__["_instance"]
        wanted = [name for name in names if is_stand_in(tree.get(name))]
        if not wanted:
            return
        with RateFile(self.__dict__["_path"]) as source:
            for name in wanted:
                array = source.read("SCI" if name == "data" else name.upper())
                tree[name] = array.reshape(source.shape)

    def _read_all(self) -> None:
        self._read_pixels("data", *(name.lower() for name in CUBES))

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        self._read_all()
        return super().copy(*args, **kwargs)  # type: ignore[misc]  # it is the model's

    def save(self, *args: Any, **kwargs: Any) -> Any:
        self._read_all()
        return super().save(*args, **kwargs)  # type: ignore[misc]  # it is the model's

    def to_fits(self, *args: Any, **kwargs: Any) -> Any:
        self._read_all()
        return super().to_fits(*args, **kwargs)  # type: ignore[misc]  # it is the model's

    def to_asdf(self, *args: Any, **kwargs: Any) -> Any:
        self._read_all()
        return super().to_asdf(*args, **kwargs)  # type: ignore[misc]  # it is the model's


def read_on_demand(model: Any, path: str) -> Any:
    """Turn metadata into a model that reads each of its arrays when it is asked for.

    Parameters
    ----------
    model : CubeModel or ImageModel
        The metadata, as `ratefile.open_metadata` gives them; the model is changed.
    path : str
        File of the same shape with the pixels; it must be there as long as the model is used.

    Returns
    -------
    CubeModel or ImageModel
        The same model; it can be edited, copied and saved as any other.
    """
    kind = type(model)
    object.__setattr__(model, "_path", os.path.abspath(path))
    object.__setattr__(model, "__class__", type(kind.__name__, (_OnDemand, kind), {}))
    return model
