"""The photom files of the combine step: the old one, and the new one with its header and checks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from soss_photcal_steps.combine.combine import CombinedOrder
from soss_photcal_steps.combine.inputs import RatioProduct
from soss_photcal_steps.combine.product import summary_lines
from soss_photcal_steps.combine.time import TrendFit
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import fingerprint
from soss_photcal_steps.models import SossPhotomCorrectionModel
from soss_photcal_steps.photom.header import DeliveryHeader, pedigree

__all__ = ["check_file", "delivery_header", "find_photom", "note_photom", "write_photom_file"]


def find_photom(products: Sequence[RatioProduct], given: str | None) -> str:
    """Find the photom file that ratios were measured through.

    Parameters
    ----------
    products : sequence of RatioProduct
        The products.
    given : str or None
        The file, if the user named it.

    Returns
    -------
    str
        The file.

    Raises
    ------
    SossInputError
        If it is not there, or not the one that the products name.
    """
    names = {one.settings["photom_file"] for one in products if one.settings["photom_file"]}
    name = next(iter(names), None)
    if given is not None:
        if not os.path.isfile(given):
            raise SossInputError(f"The photom file {given} does not exist.")
        sums = {one.settings["photom_checksum"] for one in products} - {None, ""}
        if sums:
            if fingerprint(given, "full").sha256 not in sums:
                raise SossInputError(
                    f"{given} is not the photom file that the ratios were measured through "
                    f"({name}): its checksum is another."
                )
        elif name and os.path.basename(given) != name:
            raise SossInputError(
                f"The ratios were measured through {name}, not through {os.path.basename(given)}."
            )
        return given
    cache = os.environ.get("CRDS_PATH")
    for place in ("niriss", "") if cache and name else ():
        path = os.path.join(str(cache), "references", "jwst", place, str(name))
        if os.path.isfile(path):
            return path
    raise SossInputError(
        f"The photom file {name or ''} that the ratios were measured through is needed; name it "
        "with photom."
    )


def delivery_header(
    products: Sequence[RatioProduct],
    combined: Mapping[int, CombinedOrder],
    author: str,
    given_pedigree: str | None,
    description: str,
    useafter: str | None,
) -> DeliveryHeader:
    """Make the header of the photom file.

    Parameters
    ----------
    products : sequence of RatioProduct
        What went in.
    combined : mapping of int to CombinedOrder
        What came out.
    author : str
        AUTHOR.
    given_pedigree : str or None
        PEDIGREE, if the user gave it.
    description : str
        DESCRIP.
    useafter : str or None
        USEAFTER, if the user gave it.

    Returns
    -------
    DeliveryHeader
        The header, with the method in its history.

    Raises
    ------
    SossInputError
        If the dates are not known and no pedigree is given, or a value is not valid.
    """
    days = [date[:10] for one in products for date in (one.date, one.date_end) if date]
    if given_pedigree is None and not days:
        raise SossInputError(
            "No ratio product says when it was observed; give the pedigree of the photom file."
        )
    lines = [
        "Response divided by the mean ratio R of observed to model flux of standard stars.",
        *(line for one in combined.values() for line in summary_lines(one)),
    ]
    for one in products:
        lines.append(f"{one.star}, {one.observation}, {one.role}, {one.n_frames} frames")
    return DeliveryHeader(
        author=author,
        pedigree=given_pedigree or pedigree(days),
        description=description,
        useafter=useafter,
        history=tuple(lines),
    )


def write_photom_file(
    path: str,
    old: str,
    combined: Mapping[int, CombinedOrder],
    header: DeliveryHeader,
    products: Sequence[RatioProduct],
    outside_error: float,
    trends: Mapping[int, TrendFit] | None = None,
) -> list[str]:
    """Write the new photom file.

    Parameters
    ----------
    path : str
        The new file.
    old : str
        The file that the ratios were measured through.
    combined : mapping of int to CombinedOrder
        The corrections.
    header : DeliveryHeader
        Its header.
    products : sequence of RatioProduct
        What went in.
    outside_error : float
        Relative error beyond the measured wavelengths.
    trends : mapping of int to TrendFit, optional
        Throughput trends to be written into the file, by order.

    Returns
    -------
    list of str
        What was done to each row.

    Raises
    ------
    SossInputError
        If it cannot be made.
    """
    from soss_photcal_steps.photom.table import read_photom
    from soss_photcal_steps.photom.time_tables import make_time_tables
    from soss_photcal_steps.photom.write import describe_changes, make_photom_file

    tables = None
    if trends is not None:
        given = {
            ("CLEAR", "GR700XD", order): fit.trend
            for order, fit in trends.items()
            if fit.trend is not None and order in combined
        }
        before = read_photom(old)
        if before.time_tables:
            raise SossInputError(
                f"{os.path.basename(old)} has time tables already, so the ratios say how the "
                "throughput differs from them; leave time_tables out to keep them."
            )
        tables = make_time_tables(before.rows, given)
    new = make_photom_file(
        old,
        [one.correction() for one in combined.values()],
        path,
        header,
        inputs=[one.path for one in products if one.path],
        outside_error=outside_error,
        time_tables=tables,
    )
    return list(describe_changes(new))


def check_file(path: str, old: str) -> tuple[str, list[tuple[str, str]]]:
    """Check the new photom file.

    Parameters
    ----------
    path, old : str
        New and old file.

    Returns
    -------
    verdict : str
        In words.
    findings : list of (severity, text)
        What was found.
    """
    from soss_photcal_steps.photom.check import check_photom

    report = check_photom(path, old)
    return report.verdict, [(one.severity, one.text) for one in report.findings]


def note_photom(
    model: SossPhotomCorrectionModel, old: str, new: str, verdict: str, findings: Sequence[str]
) -> None:
    """Write down which photom files there are; the model is edited.

    Parameters
    ----------
    model : SossPhotomCorrectionModel
        The product.
    old, new : str
        Old and new file.
    verdict : str
        Verdict of the checks.
    findings : sequence of str
        What they found.
    """
    model.photom = {
        "old_file": os.path.basename(old),
        "old_checksum": fingerprint(old).sha256,
        "new_file": os.path.basename(new),
        "verdict": verdict,
        "findings": list(findings),
    }
