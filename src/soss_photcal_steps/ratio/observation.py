"""What the header of a file of extracted spectra says about the observation."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soss_photcal_steps.errors import SossInputError

__all__ = ["ObservationInfo", "check_same_observation", "differences", "parse_integrations"]


@dataclass(frozen=True)
class ObservationInfo:
    """Identity and settings of one file of extracted spectra.

    Attributes
    ----------
    name : str
        File name.
    target, proposed_target : str or None
        TARGNAME and TARGPROP.
    ra, dec : float or None
        Position of the target at its epoch, degrees.
    pm_ra, pm_dec : float or None
        Proper motion, arcsec per year (MU_RA, MU_DEC).
    program, observation, visit : str or None
        Numbers, as text with leading zeros.
    date_begin : str or None
        DATE-OBS and TIME-OBS, ISO 8601.
    start_mjd, mid_mjd, end_mjd : float or None
        EXPSTART, EXPMID and EXPEND, MJD UTC.
    pwcpos : float or None
        Angle of the pupil wheel, degrees.
    subarray, filter, pupil : str or None
        Instrument settings.
    n_integrations, n_groups, n_frames : int or None
        NINTS, NGROUPS and NFRAMES (per group).
    exposure_time : float or None
        EFFEXPTM, s.
    segment, n_segments : int
        EXSEGNUM and EXSEGTOT.
    method : str
        ``atoca`` or ``box``; empty if it is not known.
    width, tikhonov_factor : float or None
        Aperture of the extraction, pixels, and the regularisation factor of ATOCA.
    photom_file, crds_context, crds_version, cal_version : str or None
        R_PHOTOM, CRDS_CTX, CRDS_VER and CAL_VER.
    steps : dict
        S_BKDSUB, S_PXREPL and S_PHOTOM.
    background_method : str or None
        BKGMETH.
    background_level : float or None
        BKGLEVEL, DN/s.
    background_scale : float or None
        BKGD_SCL, by which the template was multiplied left of the break.
    background_file : str or None
        R_BKG, the reference file of the pipeline's own background step.
    pm_epoch : str or None
        MU_EPOCH, the year of the position.
    frame_time : float or None
        TFRAME, s.
    first_integration, last_integration : int or None
        INTSTART and INTEND, the integrations of this segment.
    exposure : str or None
        EXPOSURE, the number of the exposure within the visit's activity.
    oversampling, threshold : float or None
        OVERSAMP and THRESHLD, settings of ATOCA.
    """

    name: str
    target: str | None = None
    proposed_target: str | None = None
    ra: float | None = None
    dec: float | None = None
    pm_ra: float | None = None
    pm_dec: float | None = None
    program: str | None = None
    observation: str | None = None
    visit: str | None = None
    date_begin: str | None = None
    start_mjd: float | None = None
    mid_mjd: float | None = None
    end_mjd: float | None = None
    pwcpos: float | None = None
    subarray: str | None = None
    filter: str | None = None
    pupil: str | None = None
    n_integrations: int | None = None
    n_groups: int | None = None
    n_frames: int | None = None
    exposure_time: float | None = None
    segment: int = 1
    n_segments: int = 1
    method: str = ""
    width: float | None = None
    tikhonov_factor: float | None = None
    photom_file: str | None = None
    crds_context: str | None = None
    crds_version: str | None = None
    cal_version: str | None = None
    steps: Mapping[str, str | None] | None = None
    background_method: str | None = None
    background_level: float | None = None
    background_scale: float | None = None
    background_file: str | None = None
    pm_epoch: str | None = None
    frame_time: float | None = None
    first_integration: int | None = None
    last_integration: int | None = None
    exposure: str | None = None
    oversampling: float | None = None
    threshold: float | None = None

    @classmethod
    def from_header(
        cls, header: Mapping[str, Any], name: str, decontaminated: bool | None = None
    ) -> ObservationInfo:
        """Read a primary header.

        Parameters
        ----------
        header : mapping
            Keywords and values.
        name : str
            File name, for messages.
        decontaminated : bool, optional
            Whether ATOCA took the overlap of the orders away, which no keyword says.  If it is
            not known, a TIKFACTR is taken as a sign of ATOCA; a box extraction that fills bad
            pixels from ATOCA's model has one as well.

        Returns
        -------
        ObservationInfo
            What the header says; None where it says nothing usable.

        Raises
        ------
        SossInputError
            If the file is not one of NIRISS SOSS spectra with the CLEAR filter.
        """
        text, number, count = _readers(header)
        if text("INSTRUME") != "NIRISS" or text("EXP_TYPE") != "NIS_SOSS":
            raise SossInputError(
                f"{name} is of {text('INSTRUME')} {text('EXP_TYPE')}; extracted spectra of "
                "NIRISS, EXP_TYPE NIS_SOSS, are needed."
            )
        if str(text("FILTER")).upper() != "CLEAR":
            raise SossInputError(
                f"{name} has the filter {text('FILTER')}; only CLEAR spectra can be compared "
                "with a model, as the pipeline extracts no others."
            )
        factor = number("TIKFACTR")
        width = number("SOSSWDTH")
        if decontaminated is None and (factor is not None or width is not None):
            decontaminated = factor is not None
        method = "" if decontaminated is None else ("atoca" if decontaminated else "box")
        date, time = text("DATE-OBS"), text("TIME-OBS")
        if date is not None and not _is_date(date):
            raise SossInputError(
                f"{name} has DATE-OBS {date!r}, which is no day of an observation; the header is "
                "damaged."
            )
        return cls(
            name=name,
            target=text("TARGNAME"),
            proposed_target=text("TARGPROP"),
            ra=number("TARG_RA"),
            dec=number("TARG_DEC"),
            pm_ra=number("MU_RA"),
            pm_dec=number("MU_DEC"),
            program=text("PROGRAM"),
            observation=text("OBSERVTN"),
            visit=text("VISIT"),
            date_begin=f"{date}T{time}" if date and time else date,
            start_mjd=_day(number("EXPSTART")),
            mid_mjd=_day(number("EXPMID")),
            end_mjd=_day(number("EXPEND")),
            pwcpos=number("PWCPOS"),
            subarray=text("SUBARRAY"),
            filter=text("FILTER"),
            pupil=text("PUPIL"),
            n_integrations=count("NINTS"),
            n_groups=count("NGROUPS"),
            n_frames=count("NFRAMES"),
            exposure_time=number("EFFEXPTM"),
            segment=count("EXSEGNUM") or 1,
            n_segments=count("EXSEGTOT") or 1,
            method=method,
            width=width,
            tikhonov_factor=factor,
            photom_file=_reference_name(text("R_PHOTOM")),
            crds_context=text("CRDS_CTX"),
            crds_version=text("CRDS_VER"),
            cal_version=text("CAL_VER"),
            steps={key: text(key) for key in ("S_BKDSUB", "S_PXREPL", "S_PHOTOM")},
            background_method=text("BKGMETH"),
            background_level=number("BKGLEVEL"),
            background_scale=number("BKGD_SCL"),
            background_file=_reference_name(text("R_BKG")),
            pm_epoch=text("MU_EPOCH"),
            frame_time=number("TFRAME"),
            first_integration=count("INTSTART"),
            last_integration=count("INTEND"),
            exposure=text("EXPOSURE"),
            oversampling=number("OVERSAMP"),
            threshold=number("THRESHLD"),
        )

    @property
    def span(self) -> int:
        """Number of integrations that this file is made of, from its header; 1 if unknown."""
        if self.first_integration is not None and self.last_integration is not None:
            return max(self.last_integration - self.first_integration + 1, 1)
        return (self.n_integrations or 1) if self.n_segments == 1 else 1

    def frames_of(self, integrations: int) -> int | None:
        """Count the frames of some integrations.

        Parameters
        ----------
        integrations : int
            Number of integrations.

        Returns
        -------
        int or None
            Integrations times groups times frames per group; None if it is not known.
        """
        if self.n_groups is None:
            return None
        return integrations * self.n_groups * (self.n_frames or 1)


# No exposure has more integrations, groups or frames than this; the product of the three can be
# written as an integer.
_LARGEST_COUNT = 10**6


def _readers(header: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Give functions that read text, numbers and counts; what does not fit is None."""

    def text(key: str) -> str | None:
        value = header.get(key)
        return None if value is None or not str(value).strip() else str(value).strip()

    def number(key: str) -> float | None:
        value = header.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if abs(float(value)) < float("inf") else None

    def count(key: str) -> int | None:
        value = number(key)
        if value is None or not 1 <= value <= _LARGEST_COUNT or value != int(value):
            return None
        return int(value)

    return text, number, count


def _is_date(text: str) -> bool:
    """Tell whether a text is a day of this century, if it is written as a day."""
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        # Simulators have written it otherwise.
        return True
    try:
        return datetime.date.fromisoformat(text[:10]).year in range(2000, 2100)
    except ValueError:
        return False


def _day(mjd: float | None) -> float | None:
    """Leave out what is no day of this century or the one before it."""
    return mjd if mjd is not None and 15000 < mjd < 90000 else None


def _reference_name(text: str | None) -> str | None:
    return None if text is None else re.split(r"[/\\]", text)[-1]


# What the segments of one observation must share, and what to call it.
_SHARED = {
    "program": "program",
    "observation": "observation",
    "target": "target",
    "exposure": "exposure number",
    "filter": "filter",
    "pupil": "pupil",
    "pwcpos": "pupil wheel position",
    "subarray": "subarray",
    "photom_file": "photom reference file",
    "method": "extraction method",
    "width": "extraction width",
    "oversampling": "oversampling of ATOCA",
    "threshold": "threshold of ATOCA",
    "n_groups": "number of groups",
    "S_BKDSUB": "background subtraction (S_BKDSUB)",
    "S_PXREPL": "pixel replacement (S_PXREPL)",
}
# What they may differ in, though a user would want to know.
_NOTED = {
    "cal_version": "pipeline version",
    "crds_context": "CRDS context",
    "background_method": "background",
}


def _value(info: ObservationInfo, key: str) -> Any:
    return (info.steps or {}).get(key) if key.startswith("S_") else getattr(info, key)


def check_same_observation(infos: Sequence[ObservationInfo]) -> None:
    """Make sure that files are of one observation, extracted and calibrated in one way.

    The regularisation factor of ATOCA is found for each segment by itself, and may differ.

    Parameters
    ----------
    infos : sequence of ObservationInfo
        One for each file.

    Raises
    ------
    SossInputError
        If a file differs from most of the others; it is named.
    """
    for key, title in _SHARED.items():
        values = [_value(info, key) for info in infos]
        if len(set(values)) <= 1:
            continue
        common = max(values, key=values.count)
        odd = next(info for info in infos if _value(info, key) != common)
        raise SossInputError(
            f"{odd.name} has the {title} {_value(odd, key)}, the other files {common}; give the "
            "files of one observation only, made in one way."
        )


def differences(infos: Sequence[ObservationInfo]) -> list[str]:
    """Say in what the files of one observation differ without spoiling it.

    Parameters
    ----------
    infos : sequence of ObservationInfo
        One for each file.

    Returns
    -------
    list of str
        One sentence for each.
    """
    sentences = []
    for key, title in _NOTED.items():
        values = {str(_value(info, key)) for info in infos}
        if len(values) > 1:
            sentences.append(f"The files differ in {title}: {', '.join(sorted(values))}.")
    return sentences


_RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")


def parse_integrations(text: str | None) -> frozenset[int]:
    """Read a list of integrations such as ``1-3,17``.

    Parameters
    ----------
    text : str or None
        Numbers from 1, and ranges, with commas between.

    Returns
    -------
    frozenset of int
        The numbers.

    Raises
    ------
    SossInputError
        If it is not such a list.
    """
    found: set[int] = set()
    for part in (text or "").split(","):
        if not part.strip():
            continue
        match = _RANGE.fullmatch(part)
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else first
        if not match or not 1 <= first <= last or last - first > 10**6:
            raise SossInputError(
                f"{part.strip()!r} is no integration or range of them; write for example "
                "1-3,17, counted from 1."
            )
        found.update(range(first, last + 1))
    return frozenset(found)
