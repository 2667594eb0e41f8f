"""The data models of this package's own products, stored as ASDF."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import asdf
import numpy as np
from stdatamodels.jwst.datamodels import JwstDataModel

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.integration import SCHEMA_URI_PREFIX
from soss_photcal_steps.provenance import plain
from soss_photcal_steps.ratio.order import MASK_TITLES, OrderRatio
from soss_photcal_steps.strangers import check_asdf

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["SossPhotomCorrectionModel", "SossRatioModel", "open_product", "plain_orders"]

_ARRAYS = {
    "wavelength": ("um", "float64"),
    "observed": ("Jy", "float64"),
    "observed_error": ("Jy", "float64"),
    "n_used": ("", "int32"),
    "model": ("Jy", "float64"),
    "model_stat_error": ("Jy", "float64"),
    "model_sys_error": ("Jy", "float64"),
    "ratio": ("", "float64"),
    "ratio_error": ("", "float64"),
    "mask": ("", "uint32"),
    "fit": ("", "float64"),
    "fit_error": ("", "float64"),
}


class SossRatioModel(JwstDataModel):
    """Observed over model flux of a standard star, per order.

    The tree holds ``star``, ``observation``, ``extraction``, ``calibration`` and
    ``background`` (mappings), ``mask_bits``, and ``orders``, a list with one entry per order;
    the schema ``soss_ratio-1.0.0`` gives title, unit and meaning of each field.  A file opens
    with this class, and with plain ``asdf.open``.
    """

    schema_url = f"{SCHEMA_URI_PREFIX}soss_ratio-1.0.0"

    def get_primary_array_name(self) -> str:
        """Name the array that gives the model its shape.

        Returns
        -------
        str
            An empty string: there is none.
        """
        return ""

    def set_orders(self, orders: Sequence[OrderRatio]) -> None:
        """Store the orders and the meaning of their mask bits; the model is edited.

        Parameters
        ----------
        orders : sequence of OrderRatio
            One per spectral order.

        Raises
        ------
        ValueError
            If an order comes twice, or its arrays differ in shape.
        """
        numbers = [item.order for item in orders]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"orders are repeated: {numbers}")
        stored = []
        for item in sorted(orders, key=lambda one: one.order):
            shapes = {np.shape(getattr(item, name)) for name in _ARRAYS}
            if len(shapes) != 1 or len(next(iter(shapes))) != 1:
                raise ValueError(f"arrays of order {item.order} have shapes {sorted(shapes)}")
            entry: dict[str, Any] = {"order": int(item.order)}
            for name, (_, kind) in _ARRAYS.items():
                entry[name] = np.array(getattr(item, name), dtype=kind)
            entry["fit_description"] = plain(item.fit_description)
            stored.append(entry)
        self.orders = stored
        self.mask_bits = [
            {"bit": int(bit), "name": bit.name, "title": title}
            for bit, title in MASK_TITLES.items()
        ]

    def order_ratios(self) -> dict[int, OrderRatio]:
        """Give the orders as plain arrays.

        Returns
        -------
        dict of int to OrderRatio
            By spectral order; the arrays are copies.

        Raises
        ------
        SossInputError
            If an order lacks one of its arrays.
        """
        found = {}
        for node in plain_orders(self):
            missing = [name for name in _ARRAYS if name not in node]
            if missing:
                raise SossInputError(
                    f"Order {node.get('order')} of {self.meta.filename} lacks "
                    f"{', '.join(missing)}; make the ratio product again."
                )
            arrays = {name: np.array(node[name], dtype=kind) for name, (_, kind) in _ARRAYS.items()}
            if len({array.shape for array in arrays.values()}) > 1:
                raise SossInputError(
                    f"The arrays of order {node.get('order')} of {self.meta.filename} differ in "
                    "shape; make the ratio product again."
                )
            found[int(node["order"])] = OrderRatio(
                order=int(node["order"]),
                fit_description=dict(plain(node.get("fit_description", {}))),
                **arrays,
            )
        return found

    def to_table(self, order: int | None = None) -> QTable:
        """Give the arrays as a table with units.

        Parameters
        ----------
        order : int, optional
            Spectral order; all of them, one below the other, if not given.

        Returns
        -------
        astropy.table.QTable
            Column ``order`` and one column per array; the metadata of the product are in
            ``meta``.

        Raises
        ------
        SossInputError
            If the product has no such order.
        """
        from astropy import units
        from astropy.table import QTable

        found = self.order_ratios()
        if order is not None and order not in found:
            raise SossInputError(
                f"{self.meta.filename} has no order {order}, only {sorted(found)}."
            )
        chosen = [found[number] for number in sorted(found) if order in (None, number)]
        table = QTable()
        table["order"] = np.concatenate(
            [np.full(item.wavelength.size, item.order) for item in chosen] or [np.zeros(0, int)]
        )
        for name, (unit, kind) in _ARRAYS.items():
            column = np.concatenate([getattr(item, name) for item in chosen] or [np.zeros(0, kind)])
            table[name] = column * units.Unit(unit) if unit else column
        for group in ("star", "observation", "extraction", "calibration", "background"):
            node = getattr(self, group, None)
            table.meta[group] = {} if node is None else dict(node.instance)
        table.meta["mask_bits"] = {int(bit): title for bit, title in MASK_TITLES.items()}
        return table


class SossPhotomCorrectionModel(JwstDataModel):
    """Mean ratio of many observations per order, with its errors and all that went in.

    The tree holds ``photom``, ``observations``, ``notes`` and ``orders``; the schema
    ``soss_photom_correction-1.0.0`` gives title, unit and meaning of each field.
    """

    schema_url = f"{SCHEMA_URI_PREFIX}soss_photom_correction-1.0.0"

    def get_primary_array_name(self) -> str:
        """Name the array that gives the model its shape.

        Returns
        -------
        str
            An empty string: there is none.
        """
        return ""

    def to_table(self, order: int) -> QTable:
        """Give the correction of an order as a table with units.

        Parameters
        ----------
        order : int
            Spectral order.

        Returns
        -------
        astropy.table.QTable
            Wavelength, correction, its errors and the number of stars.

        Raises
        ------
        SossInputError
            If the product has no such order.
        """
        from astropy import units
        from astropy.table import QTable

        entries = {int(entry["order"]): entry for entry in plain_orders(self)}
        if order not in entries:
            raise SossInputError(
                f"{self.meta.filename} has no order {order}, only {sorted(entries)}."
            )
        table = QTable(meta={"order": order, "method": entries[order].get("method")})
        table["wavelength"] = np.array(entries[order]["wavelength"]) * units.um
        for name in ("correction", "stat_error", "sys_error", "n_stars"):
            table[name] = np.array(entries[order][name])
        return table


def plain_orders(model: JwstDataModel) -> list[Mapping[str, Any]]:
    """Give the entries of ``orders`` of a product as plain mappings.

    Parameters
    ----------
    model : SossRatioModel or SossPhotomCorrectionModel
        The product.

    Returns
    -------
    list of mapping
        The entries.
    """
    return [entry.instance if hasattr(entry, "instance") else entry for entry in model.orders]


# Parts of a tree that other packages describe and read.
_NOT_OURS = ("meta", "history", "asdf_library", "cal_logs")


def _check_kinds(value: Any, schema: Mapping[str, Any], place: str = "") -> None:
    """Refuse what jsonschema takes for text or a mapping, because it is stored like one.

    Raises
    ------
    ValueError
        If a value is an array where the schema has another type, or is no plain value.
    """
    if isinstance(value, Mapping):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        for key, one in value.items():
            _check_kinds(one, known.get(key, others), f"{place}/{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for i, one in enumerate(value):
            _check_kinds(one, schema.get("items", {}), f"{place}/{i}")
    elif isinstance(value, np.ndarray):
        if "type" in schema:
            raise ValueError(f"{place} is an array, but must be of the type {schema['type']}")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"{place} is of the type {type(value).__name__}, which no field has")


def _check_orders(entries: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that the entries of ``orders`` agree with each other and within.

    Raises
    ------
    ValueError
        If an order comes twice, or arrays differ in length.
    """
    numbers = [entry["order"] for entry in entries]
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"its orders are {numbers}, but each must come once")
    for i, entry in enumerate(entries):
        _check_lengths(entry, len(entry["wavelength"]), f"orders/{i}")
        if "means" in entry and entry.get("method") not in entry["means"]:
            raise ValueError(f"orders/{i}/method is none of the means {sorted(entry['means'])}")


def _check_lengths(node: Mapping[str, Any], length: int, place: str) -> None:
    """Make sure that each array of a mapping goes with the wavelengths."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            # The nodes of a difference have their own.
            own = len(value["wavelength"]) if np.ndim(value.get("wavelength", 0)) else length
            _check_lengths(value, own, f"{place}/{key}")
        elif isinstance(value, np.ndarray):
            rows = len(node.get("stars", ())) if value.ndim == 2 else None
            shape = (length,) if rows is None else (rows, length)
            if value.shape != shape:
                raise ValueError(
                    f"{place}/{key} has the shape {value.shape}, but the wavelengths and stars "
                    f"need {shape}"
                )
    names = node.get("stars", ()), node.get("observations", ())
    if len(names[0]) != len(names[1]):
        raise ValueError(f"{place} names {len(names[0])} stars, but {len(names[1])} observations")


def _why(error: Exception) -> str:
    """Say what is wrong with a tree, and in which of its fields."""
    cause = error.__cause__
    place = "/".join(str(part) for part in getattr(cause, "absolute_path", ()))
    return f"{place}, {reason(cause)}" if place and isinstance(cause, Exception) else reason(error)


_Product = TypeVar("_Product", bound=JwstDataModel)


def open_product(path: str | os.PathLike[str], kind: type[_Product]) -> _Product:
    """Open an ASDF product of this package as its class.

    ``datamodels.open`` knows only the classes of jwst, and opens any other as a plain model
    with a warning.

    Parameters
    ----------
    path : path
        The file.
    kind : type
        Class that the product must be of.

    Returns
    -------
    JwstDataModel
        The product, an instance of `kind`; all of it is in memory.

    Raises
    ------
    SossInputError
        If the file is missing, damaged, or another kind of product.
    """
    if not os.path.isfile(path):
        raise SossInputError(f"The file {path} does not exist.")
    wanted = kind.__name__
    try:
        check_asdf(path, wanted)
        # Every block has a checksum.
        content = asdf.open(path, memmap=False, lazy_load=False, validate_checksums=True)
        try:
            found = content.tree.get("meta", {}).get("model_type")
            if found == wanted:
                # Not from the path, which would read and validate all of it again.
                model = kind(content, strict_validation=True, validate_arrays=True)
                model.validate()
                own = {key: value for key, value in content.tree.items() if key not in _NOT_OURS}
                _check_kinds(own, asdf.schema.load_schema(kind.schema_url)["allOf"][1])
                _check_orders(content.tree["orders"])
                model.meta.filename = os.path.basename(path)
        finally:
            # All of it is in memory.
            content.close()
    except (MemoryError, SossInputError):
        raise
    except Exception as error:
        # Whatever asdf or yaml stumbles over, the file is at fault.
        raise SossInputError(
            f"The file {path} cannot be read as a {wanted}: {_why(error)}."
        ) from error
    if found != wanted:
        raise SossInputError(f"{path} holds a {found or 'file of unknown kind'}, not a {wanted}.")
    return model
