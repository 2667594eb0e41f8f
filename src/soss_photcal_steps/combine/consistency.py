"""Whether ratio products belong together: photom file, extraction, grids, size, pupil wheel."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from soss_photcal_steps.errors import SossInputError

__all__ = ["ConsistencyReport", "ObservationMeta", "check_consistency"]


@dataclass(frozen=True)
class ObservationMeta:
    """What must agree between observations.

    Attributes
    ----------
    name : str
        Name for messages, such as the file.
    photom_file, photom_checksum : str or None
        Photom reference file that the spectra were calibrated with, and its SHA-256.
    method : str or None
        Extraction method, such as ``atoca`` or ``box``.
    width : float or None
        Full width of the extraction aperture, pixels.
    tikhonov_factor : float or None
        Regularisation factor of ATOCA.
    subarray : str or None
        Subarray.
    filter : str or None
        Filter.
    pwcpos : float or None
        Angle of the pupil wheel, degrees.
    cal_version : str or None
        Version of the jwst pipeline.
    grids : mapping of int to tuple
        By order: number of pixels, first and last wavelength, um.
    levels : mapping of int to float
        By order: median ratio.
    """

    name: str
    photom_file: str | None = None
    photom_checksum: str | None = None
    method: str | None = None
    width: float | None = None
    tikhonov_factor: float | None = None
    subarray: str | None = None
    filter: str | None = None
    pwcpos: float | None = None
    cal_version: str | None = None
    grids: Mapping[int, tuple[int, float, float]] = field(default_factory=dict)
    levels: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, name: str, groups: Mapping[str, Any]) -> ObservationMeta:
        """Take the metadata from the groups of a ratio product.

        Parameters
        ----------
        name : str
            Name for messages.
        groups : mapping
            ``observation``, ``extraction`` and ``calibration`` of the product, and ``grids``
            and ``levels`` as above where they are known.

        Returns
        -------
        ObservationMeta
            The metadata; None for what is missing.
        """
        merged: dict[str, Any] = {}
        for group in ("observation", "extraction", "calibration"):
            merged.update(groups.get(group) or {})
        own = ("name", "grids", "levels")
        wanted = [one.name for one in fields(cls) if one.name not in own]
        return cls(
            name=name,
            grids=dict(groups.get("grids") or {}),
            levels=dict(groups.get("levels") or {}),
            **{key: merged.get(key) for key in wanted},
        )


@dataclass(frozen=True)
class ConsistencyReport:
    """What was found.

    Attributes
    ----------
    problems : list of str
        Sentences that name what must not be combined.
    notes : list of str
        Sentences that are only to be known.
    odd : tuple of str
        Names of the observations that do not fit.
    """

    problems: list[str]
    notes: list[str]
    odd: tuple[str, ...] = ()

    def raise_if_bad(self) -> None:
        """Stop if something does not fit.

        Raises
        ------
        SossInputError
            With all problems.
        """
        if self.problems:
            raise SossInputError(
                "These ratios cannot be combined. "
                + " ".join(self.problems)
                + " Leave them out, or make the ratios again in the same way."
            )


# Names, and how a value is called in a message.
_MUST_AGREE = (
    ("photom_checksum", "photom file with checksum"),
    ("method", "extraction method"),
    ("width", "extraction width in pixels"),
    ("filter", "filter"),
)


def check_consistency(
    observations: Sequence[ObservationMeta],
    *,
    factor: float = 3.0,
    pwcpos_tolerance: float = 1.0,
    tikhonov_tolerance: float = 100.0,
) -> ConsistencyReport:
    """Find observations that cannot be combined with the others.

    What most have is taken as right, and the odd ones out are named.  A value that is missing
    is noted; it is no reason to refuse.  Nor is another Tikhonov factor of ATOCA: unless the user
    gives one (``soss_tikfac``), ``extract_1d`` finds one for each exposure.

    Parameters
    ----------
    observations : sequence of ObservationMeta
        The observations.
    factor : float
        A median ratio further than this factor from the median of all does not fit: a unit or
        an order of magnitude is wrong.
    pwcpos_tolerance : float
        Largest distance of the pupil wheel from the median of all, degrees.  The wheel comes
        to rest within 0.2 degrees or so.
    tikhonov_tolerance : float
        A Tikhonov factor further than this factor from the median of all is named in a note.

    Returns
    -------
    ConsistencyReport
        The findings.
    """
    problems: list[str] = []
    notes: list[str] = []
    odd: dict[str, None] = {}
    for attribute, title in _MUST_AGREE:
        _agreement(observations, attribute, title, problems, notes, odd)
    _photom_names(observations, problems, notes, odd)
    _grids(observations, problems, odd)
    _levels(observations, factor, problems, odd)
    _pupil_wheel(observations, pwcpos_tolerance, problems, notes, odd)
    _tikhonov(observations, tikhonov_tolerance, notes)
    for attribute, title in (("cal_version", "jwst versions"), ("subarray", "subarrays")):
        values = sorted({str(getattr(o, attribute)) for o in observations if getattr(o, attribute)})
        if len(values) > 1:
            notes.append(f"Different {title}: {', '.join(values)}.")
    return ConsistencyReport(problems, notes, tuple(odd))


def _agreement(
    observations: Sequence[ObservationMeta],
    attribute: str,
    title: str,
    problems: list[str],
    notes: list[str],
    odd: dict[str, None],
) -> None:
    given = [(o.name, _plain(getattr(o, attribute))) for o in observations]
    missing = [name for name, value in given if value is None]
    if missing and len(missing) < len(given):
        notes.append(f"No {title} is known of {', '.join(missing)}.")
    counts = Counter(value for _, value in given if value is not None)
    if len(counts) < 2:
        return
    (usual, most), (_, second) = counts.most_common(2)
    if most == second:
        parts = [
            f"{_short(value)} ({', '.join(n for n, v in given if v == value)})" for value in counts
        ]
        problems.append(f"Different {title}: {'; '.join(parts)}.")
        odd.update(dict.fromkeys(n for n, v in given if v is not None))
        return
    for name, value in given:
        if value is not None and value != usual:
            problems.append(
                f"{name} has {title} {_short(value)}, {most} others have {_short(usual)}."
            )
            odd[name] = None


def _photom_names(
    observations: Sequence[ObservationMeta],
    problems: list[str],
    notes: list[str],
    odd: dict[str, None],
) -> None:
    """One name must be one file; two names of one file are a copy, which is only noted."""
    by_sum: dict[str, set[str]] = {}
    for one in observations:
        if one.photom_checksum and one.photom_file:
            by_sum.setdefault(one.photom_checksum, set()).add(one.photom_file)
    for names in by_sum.values():
        if len(names) > 1:
            notes.append(f"The same photom file has several names: {', '.join(sorted(names))}.")
    unknown = [o for o in observations if not o.photom_checksum]
    if unknown:
        # Where a checksum is missing the name has to do.
        _agreement(observations, "photom_file", "photom file", problems, notes, odd)


def _grids(
    observations: Sequence[ObservationMeta], problems: list[str], odd: dict[str, None]
) -> None:
    orders = sorted({order for one in observations for order in one.grids})
    for order in orders:
        given = [(o.name, *o.grids[order]) for o in observations if order in o.grids]
        lows = sorted(low for _, _, low, _ in given)
        highs = sorted(high for _, _, _, high in given)
        middle_low, middle_high = lows[len(lows) // 2], highs[len(highs) // 2]
        width = middle_high - middle_low
        for name, count, low, high in given:
            # The pupil wheel moves the grid by some pixels; a tenth of it is another grid.
            if max(abs(low - middle_low), abs(high - middle_high)) > 0.1 * width or count < 2:
                problems.append(
                    f"{name}: order {order} has {count} pixels from {low:.4g} to {high:.4g} um, "
                    f"the others from about {middle_low:.4g} to {middle_high:.4g} um."
                )
                odd[name] = None


def _levels(
    observations: Sequence[ObservationMeta],
    factor: float,
    problems: list[str],
    odd: dict[str, None],
) -> None:
    orders = sorted({order for one in observations for order in one.levels})
    for order in orders:
        given = [(o.name, o.levels[order]) for o in observations if order in o.levels]
        positive = sorted(level for _, level in given if level > 0 and math.isfinite(level))
        if not positive:
            problems.append(f"No observation has a positive median ratio in order {order}.")
            continue
        middle = positive[len(positive) // 2]
        for name, level in given:
            fits = level > 0 and math.isfinite(level) and 1 / factor < level / middle < factor
            if not fits:
                problems.append(
                    f"{name}: the median ratio of order {order} is {level:.3g}, that of the "
                    f"others about {middle:.3g}; a unit may be wrong."
                )
                odd[name] = None


def _pupil_wheel(
    observations: Sequence[ObservationMeta],
    tolerance: float,
    problems: list[str],
    notes: list[str],
    odd: dict[str, None],
) -> None:
    given = [(o.name, float(o.pwcpos)) for o in observations if o.pwcpos is not None]
    if not given:
        return
    angles = sorted(angle for _, angle in given)
    notes.append(
        f"PWCPOS ranges from {angles[0]:.3f} to {angles[-1]:.3f} degrees over {len(angles)} "
        "observations."
    )
    middle = angles[len(angles) // 2]
    for name, angle in given:
        if abs(angle - middle) > tolerance:
            problems.append(
                f"{name}: PWCPOS is {angle:.3f} degrees, that of the others about {middle:.3f}."
            )
            odd[name] = None


def _tikhonov(observations: Sequence[ObservationMeta], tolerance: float, notes: list[str]) -> None:
    """Tell the range of ATOCA's factors, and who is far from the others."""
    given = [(o.name, float(o.tikhonov_factor)) for o in observations if o.tikhonov_factor]
    factors = sorted(value for _, value in given)
    if len({_plain(value) for value in factors}) < 2:
        return
    notes.append(
        f"The Tikhonov factor of ATOCA ranges from {factors[0]:.3g} to {factors[-1]:.3g} over "
        f"{len(given)} observations."
    )
    middle = factors[len(factors) // 2]
    notes.extend(
        f"{name}: the Tikhonov factor of ATOCA is {value:.3g}, that of the others about "
        f"{middle:.3g}; look at its spectrum."
        for name, value in given
        if not 1 / tolerance < value / middle < tolerance
    )


def _plain(value: Any) -> Any:
    # A width of 40 and one of 40.0 are the same.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(f"{value:.6g}")
    return value.strip().lower() if isinstance(value, str) else value


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
