"""Input of the background step: what an exposure is, whether it can be used, what belongs to it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soss_photcal_steps.background.readers import ModelIntegrations, StreamedIntegrations
from soss_photcal_steps.background.window import Window
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.strangers import read_json
from soss_photcal_steps.trace import DETECTOR_SIZE, PWCPOS_COMMANDED

__all__ = [
    "Association",
    "ExposureInfo",
    "ModelIntegrations",
    "StreamedIntegrations",
    "check_same_exposure",
    "check_usable",
    "is_subtracted",
    "read_association",
    "read_products",
]

FILTERS = ("CLEAR", "F277W")


@dataclass(frozen=True)
class ExposureInfo:
    """What the header of a file says, as far as the background depends on it.

    Attributes
    ----------
    name : str
        File name, or what stands for it in a message.
    instrument, exp_type, filter, subarray, bunit : str or None
        Keywords INSTRUME, EXP_TYPE, FILTER, SUBARRAY, BUNIT.
    header : mapping
        SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2, SUBARRAY.
    shape : tuple of int
        Shape of the data.
    pwcpos : float or None
        Angle of the pupil wheel, degrees.
    exposure : tuple
        Program, observation, visit and exposure.
    segment : int or None
        Number of the segment.
    cal_step : mapping
        Name of a step to its status.
    subtracted : bool
        Whether the header says, in any way, that a background was subtracted.
    """

    name: str
    instrument: str | None
    exp_type: str | None
    filter: str | None
    subarray: str | None
    bunit: str | None
    header: Mapping[str, Any]
    shape: tuple[int, ...]
    pwcpos: float | None
    exposure: tuple[Any, ...]
    segment: int | None
    cal_step: Mapping[str, str | None]
    subtracted: bool

    @classmethod
    def from_model(cls, model: Any, shape: Sequence[int] | None = None) -> ExposureInfo:
        """Read it from a data model.

        Parameters
        ----------
        model : JwstDataModel
            The model; only its metadata are looked at if `shape` is given.
        shape : sequence of int, optional
            Shape of the data.

        Returns
        -------
        ExposureInfo
            What the step needs to know.
        """
        meta = model.meta
        area, observation = meta.subarray, meta.observation
        steps = ("assign_wcs", "extract_2d", "flat_field", "photom", "ramp_fit", "bkg_subtract")
        return cls(
            name=meta.filename or "the data model",
            instrument=meta.instrument.name,
            exp_type=meta.exposure.type,
            filter=meta.instrument.filter,
            subarray=area.name,
            bunit=getattr(meta, "bunit_data", None),
            header={
                "SUBARRAY": area.name,
                "SUBSTRT1": area.xstart,
                "SUBSTRT2": area.ystart,
                "SUBSIZE1": area.xsize,
                "SUBSIZE2": area.ysize,
            },
            shape=tuple(model.shape or () if shape is None else shape),
            pwcpos=meta.instrument.pupil_position,
            exposure=(
                observation.program_number,
                observation.observation_number,
                observation.visit_number,
                observation.exposure_number,
            ),
            segment=meta.exposure.segment_number,
            cal_step={name: getattr(meta.cal_step, name, None) for name in steps},
            subtracted=is_subtracted(model),
        )

    @property
    def window(self) -> Window:
        """What the data cover of the detector; SossInputError if the header does not say."""
        rows, columns = self.shape[-2:]
        return Window.from_header(self.name, self.header, (rows, columns))

    @property
    def angle(self) -> float:
        """Angle of the pupil wheel, or the commanded one where the header has none, degrees."""
        return PWCPOS_COMMANDED if self.pwcpos is None else float(self.pwcpos)


def is_subtracted(model: Any) -> bool:
    """Tell whether the header of a model says that a background was subtracted.

    ``S_BKDSUB`` alone is not enough: a pipeline that skips its own step after ours in a hook
    resets it.

    Parameters
    ----------
    model : JwstDataModel
        The model.

    Returns
    -------
    bool
        True if either ``S_BKDSUB`` or ``BKGSUB`` says so.
    """
    return model.meta.cal_step.bkg_subtract == "COMPLETE" or bool(model.meta.background.subtracted)


def check_usable(info: ExposureInfo) -> None:
    """Refuse what the background step cannot work on.

    Parameters
    ----------
    info : ExposureInfo
        The exposure.

    Raises
    ------
    SossInputError
        With the file, what is wrong, and what would be right.
    """
    name = info.name
    if str(info.instrument).upper() != "NIRISS":
        raise SossInputError(
            f"{name} was taken with the instrument {info.instrument}; rate or rateints files of "
            "NIRISS SOSS are needed."
        )
    if info.exp_type != "NIS_SOSS":
        raise SossInputError(
            f"{name} is of the exposure type {info.exp_type}; only NIS_SOSS has this background."
        )
    if str(info.filter).upper() not in FILTERS:
        raise SossInputError(
            f"{name} was taken with the filter {info.filter}; SOSS is used with "
            f"{' or '.join(FILTERS)}."
        )
    if len(info.shape) not in (2, 3):
        raise SossInputError(
            f"{name} holds data of {len(info.shape)} dimensions; "
            + (
                "ramps must go through calwebb_detector1 first, which makes rate and rateints."
                if len(info.shape) == 4
                else "rate has 2 and rateints 3."
            )
        )
    if 0 in info.shape:
        raise SossInputError(f"{name} holds no integration: its data have the shape {info.shape}.")
    unit = str(info.bunit or "DN/s").replace(" ", "").upper()
    if unit not in ("DN/S", "DNS-1", "DN.S-1", "DNS**-1"):
        raise SossInputError(
            f"The data of {name} are in {info.bunit}; the background is subtracted from rates "
            "in DN/s, before photom."
        )
    if info.cal_step["photom"] == "COMPLETE":
        raise SossInputError(
            f"{name} has been through photom; the background is subtracted from rates in DN/s."
        )
    window = info.window
    if window.n_columns != DETECTOR_SIZE:
        raise SossInputError(
            f"{name} covers {window}; SUBSTRIP256, SUBSTRIP96 and FULL have all "
            f"{DETECTOR_SIZE} columns."
        )


def check_same_exposure(infos: Sequence[ExposureInfo]) -> None:
    """Make sure that files are segments of one exposure.

    Parameters
    ----------
    infos : sequence of ExposureInfo
        The files.

    Raises
    ------
    SossInputError
        If they differ in exposure, subarray, filter or pupil wheel, or a segment is there twice.
    """
    first = infos[0]
    for other in infos[1:]:
        for what, one, two in (
            ("program, observation, visit and exposure", first.exposure, other.exposure),
            ("subarray", first.subarray, other.subarray),
            ("filter", first.filter, other.filter),
            ("PWCPOS", first.pwcpos, other.pwcpos),
            ("image size", first.shape[-2:], other.shape[-2:]),
        ):
            if one != two:
                raise SossInputError(
                    f"{first.name} and {other.name} are not segments of one exposure: "
                    f"{what} {_text(one)} and {_text(two)}; run the step on each by itself."
                )
    seen: dict[Any, str] = {}
    for info in infos:
        key = info.segment if info.segment is not None and len(info.shape) == 3 else info.name
        if key in seen:
            raise SossInputError(
                f"{seen[key]} and {info.name} are the same segment of one exposure; give each once."
            )
        seen[key] = info.name


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(str(item) for item in value)
    return str(value)


@dataclass(frozen=True)
class Association:
    """Members of a level-2 association.

    Attributes
    ----------
    name : str
        File name of the association.
    science, background : tuple of str
        Paths of the members.
    """

    name: str
    science: tuple[str, ...]
    background: tuple[str, ...]


def read_products(path: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Read the products of a level-2 association.

    Parameters
    ----------
    path : str
        The association, a JSON file.

    Returns
    -------
    list of (name, members)
        Of each product its name, empty if it has none, and its members.  The ``expname`` of a
        member is a path, its ``exptype`` in lower case.

    Raises
    ------
    SossInputError
        If it cannot be read as an association, or has no science member.
    """
    folder = os.path.dirname(path)
    try:
        content = read_json(path)
        products = [
            (
                _product_name(product),
                [
                    {
                        **member,
                        "exptype": member["exptype"].lower(),
                        "expname": os.path.join(folder, member["expname"]),
                    }
                    for member in product["members"]
                ],
            )
            for product in content["products"]
        ]
    except OSError as error:
        raise SossInputError(f"The association {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SossInputError(
            f"{path} is not an association: it needs products with members of expname and exptype."
        ) from error
    for _, members in products:
        names = [os.path.realpath(member["expname"]) for member in members]
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise SossInputError(f"{name} comes more than once in a product of {path}.")
            seen.add(name)
    if not any(member["exptype"] == "science" for _, members in products for member in members):
        raise SossInputError(f"The association {path} has no member of exptype science.")
    return products


def _product_name(product: Mapping[str, Any]) -> str:
    name = str(product.get("name") or "")
    if os.path.basename(name) != name:
        raise ValueError(f"the product name {name!r} is a path")
    return name


def read_association(path: str) -> Association:
    """Read the members of a level-2 association.

    Parameters
    ----------
    path : str
        The association, a JSON file.

    Returns
    -------
    Association
        The science members of all its products, and the background members.

    Raises
    ------
    SossInputError
        If it cannot be read as an association, or has no science member.
    """
    members = [member for _, members in read_products(path) for member in members]

    def paths(kind: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m["expname"] for m in members if m["exptype"] == kind))

    return Association(os.path.basename(path), paths("science"), paths("background"))
