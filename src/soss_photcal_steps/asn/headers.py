"""What a file says of itself, as far as an association needs it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from astropy.io import fits

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import check_fits
from soss_photcal_steps.level3 import EXPOSURE_CARDS, short_number
from soss_photcal_steps.models import SossRatioModel, open_product

__all__ = ["LEVELS", "FileRecord", "read_record"]

#: What a member of an association can hold, from the first to the last.
LEVELS = ("rate", "x1d", "ratio")
_NAME = re.compile(r"_([a-z0-9]+)\.fits(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class FileRecord:
    """What a file says of itself.

    Attributes
    ----------
    path : str
        The file.
    level : str
        One of `LEVELS`; else what its name ends in, such as ``uncal``.
    integrations : bool
        Whether it has integrations one by one.
    instrument, exp_type, filter : str
        Cards of the header, in capitals.
    program, observation : str
        Numbers without leading zeros.
    exposure : tuple of str
        What tells exposures of an observation apart.
    segment : int
        Segment of the exposure.
    targets : tuple of str
        Names of the target, the proposal's last.
    ra, dec : float or None
        Its position, degrees.
    mjd : float or None
        Start of the exposure, MJD.
    pwcpos : float or None
        Angle of the pupil wheel, degrees.
    is_background : bool
        Whether the header says that it is of a background.
    subtracted : bool
        Whether a background was subtracted already.
    photom : str
        Photom file that spectra went through; empty if not known.
    """

    path: str
    level: str
    integrations: bool = False
    instrument: str = ""
    exp_type: str = ""
    filter: str = ""
    program: str = ""
    observation: str = ""
    exposure: tuple[str, ...] = ()
    segment: int = 1
    targets: tuple[str, ...] = ()
    ra: float | None = None
    dec: float | None = None
    mjd: float | None = None
    pwcpos: float | None = None
    is_background: bool = False
    subtracted: bool = False
    photom: str = ""

    @property
    def name(self) -> str:
        """File name without its folder."""
        return os.path.basename(self.path)

    @property
    def identity(self) -> str:
        """Program and observation, such as ``1091/2``."""
        return f"{self.program or '?'}/{self.observation or '?'}"

    @property
    def year(self) -> float:
        """Epoch of the exposure, years; 2000 if it is not known."""
        return 2000.0 if self.mjd is None else 2000.0 + (self.mjd - 51544.5) / 365.25


def read_record(path: str) -> FileRecord:
    """Read what a file says of itself.

    Parameters
    ----------
    path : str
        A FITS file of jwst, or a ratio product in ASDF.

    Returns
    -------
    FileRecord
        What it says.

    Raises
    ------
    SossInputError
        If it cannot be read.
    """
    if path.lower().endswith(".asdf"):
        return _ratio_record(path)
    check_fits(path)
    try:
        with fits.open(path, memmap=True) as hdus:
            header = hdus[0].header
            names = [hdu.name for hdu in hdus]
            dimensions = hdus["SCI"].header.get("NAXIS", 0) if "SCI" in names else 0
            values = {key: header.get(key) for key in _CARDS}
    except (OSError, ValueError, TypeError, KeyError, fits.VerifyError) as error:
        raise SossInputError(f"{path} cannot be read: {error}.") from error
    return _fits_record(path, values, names, dimensions)


_CARDS = (
    "INSTRUME", "EXP_TYPE", "FILTER", "PROGRAM", "OBSERVTN", *EXPOSURE_CARDS, "EXSEGNUM",
    "TARGNAME", "TARGPROP", "TARG_RA", "TARG_DEC", "EXPSTART", "PWCPOS", "BKGDTARG", "S_BKDSUB",
    "R_PHOTOM",
)  # fmt: skip


def _fits_record(
    path: str, values: dict[str, Any], names: list[str], dimensions: int
) -> FileRecord:
    match = _NAME.search(os.path.basename(path))
    ending = match[1].lower() if match else ""
    if "EXTRACT1D" in names:
        level = "x1d"
    elif "SCI" in names and ending in ("rate", "rateints"):
        level = "rate"
    else:
        level = ending or "unknown"
    segment = values["EXSEGNUM"]
    targets = tuple(text for key in ("TARGNAME", "TARGPROP") if (text := _text(values[key])))
    return FileRecord(
        path=path,
        level=level,
        integrations=dimensions == 3 or ending.endswith("ints"),
        instrument=_text(values["INSTRUME"]).upper(),
        exp_type=_text(values["EXP_TYPE"]).upper(),
        filter=_text(values["FILTER"]).upper(),
        program=short_number(values["PROGRAM"]),
        observation=short_number(values["OBSERVTN"]),
        exposure=tuple(_text(values[key]) for key in EXPOSURE_CARDS),
        segment=segment if isinstance(segment, int) else 1,
        targets=targets,
        ra=_number(values["TARG_RA"]),
        dec=_number(values["TARG_DEC"]),
        mjd=_number(values["EXPSTART"]),
        pwcpos=_number(values["PWCPOS"]),
        is_background=values["BKGDTARG"] is True or any(_BACKGROUND.search(one) for one in targets),
        subtracted=_text(values["S_BKDSUB"]).upper() == "COMPLETE",
        photom=_text(values["R_PHOTOM"]).removeprefix("crds://"),
    )


# Names that proposals give to a patch of sky beside a star.
_BACKGROUND = re.compile(r"(^|[-_ ])(BKG|BKGD|BACKGROUND|SKY)([-_ 0-9]|$)", re.IGNORECASE)


def _ratio_record(path: str) -> FileRecord:
    with open_product(path, SossRatioModel) as model:

        def get(group: str, name: str) -> Any:
            return getattr(getattr(model, group, None), name, None)

        return FileRecord(
            path=path,
            level="ratio",
            instrument="NIRISS",
            exp_type="NIS_SOSS",
            filter="CLEAR",
            program=short_number(get("observation", "program")),
            observation=short_number(get("observation", "observation")),
            targets=(_text(get("star", "name")),),
            mjd=_number(get("observation", "mjd_mid")),
            pwcpos=_number(get("observation", "pwcpos")),
            photom=_text(get("calibration", "photom_file")),
        )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
