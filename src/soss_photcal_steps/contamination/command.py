"""The sub-command ``soss-photcal contamination``.

Only the parser is made at import; what reads files is loaded when the command runs.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from soss_photcal_steps.errors import SossInputError

if TYPE_CHECKING:
    from soss_photcal_steps.contamination.find import Contamination
    from soss_photcal_steps.contamination.read import FieldImage
    from soss_photcal_steps.contamination.table import TableRow

__all__ = ["add_command", "run_command"]


def add_command(commands: Any) -> None:
    """Add the sub-command to a parser.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        What ``add_subparsers`` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "contamination",
        help="find zero orders of other stars, and the wavelengths that they spoil",
        description="Find compact zero orders and traces of other stars in a rate, rateints or "
        "calints file, best after soss_template_bkg, and map each through the extraction "
        "aperture to wavelengths of each order, with the expected size of its effect. The table "
        "is what soss_ratio takes as its parameter mask_table.",
    )
    parser.add_argument("file", help="rate, rateints or calints file of SOSS (FITS)")
    parser.add_argument(
        "--output", metavar="TABLE",
        help="table to be written, .ecsv or .csv; it must not exist",
    )  # fmt: skip
    parser.add_argument("--plot", metavar="PNG", help="picture to be written; it must not exist")
    parser.add_argument(
        "--catalogue", metavar="FILE",
        help="table of neighbouring stars with the columns ra, dec (degrees, ICRS) and mag: their "
        "zero orders are predicted and drawn",
    )  # fmt: skip
    parser.add_argument(
        "--sigma", type=float, default=5.0, metavar="N",
        help="threshold of the detection in units of the noise (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--least-effect", type=float, default=0.002, metavar="X",
        help="least ratio of a source's light to the star's, in the aperture of one column, that "
        "makes an interval (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--half-width", type=float, default=20.0, metavar="PIXELS",
        help="half width of the extraction aperture (default: %(default)s)",
    )  # fmt: skip


def run_command(options: argparse.Namespace) -> tuple[int, str]:
    """Run the sub-command.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says.

    Returns
    -------
    status : int
        0.
    text : str
        What is to be printed.

    Raises
    ------
    SossInputError
        If the file cannot be used, a number makes no sense, or a product exists already.
    """
    for name, value in (
        ("--sigma", options.sigma),
        ("--least-effect", options.least_effect),
        ("--half-width", options.half_width),
    ):
        if not 0 < value < 1000:
            raise SossInputError(f"{name} is a number above 0, not {value:g}.")
    _check_products(options)

    from soss_photcal_steps.contamination.find import find_contamination
    from soss_photcal_steps.contamination.read import read_image
    from soss_photcal_steps.contamination.table import table_rows, write_table

    field = read_image(options.file)
    found = find_contamination(
        field.image, field.good, field.lines, field.pwcpos,
        filter_name=field.filter, subtracted=field.subtracted, n_sigma=options.sigma,
        least_effect=options.least_effect, half_width=options.half_width,
    )  # fmt: skip
    rows = table_rows(found.detection.sources, found.intervals)
    lines = [*_head(field), *_source_lines(found), "", *_row_lines(rows)]
    if options.output:
        write_table(options.output, rows)
        lines.append(f"wrote {options.output}")
    return 0, "\n".join(lines)


def _check_products(options: argparse.Namespace) -> None:
    for path, endings in ((options.output, (".ecsv", ".csv")), (options.plot, (".png",))):
        if not path:
            continue
        if not path.lower().endswith(endings):
            raise SossInputError(f"{path} needs a name that ends in {' or '.join(endings)}.")
        if os.path.exists(path):
            raise SossInputError(
                f"{path} exists and is not replaced; give another name or remove it."
            )


def _head(field: FieldImage) -> list[str]:
    lines = [
        f"{field.name}: {field.filter}, {field.subarray}, {field.n_integrations} integrations, "
        f"PWCPOS {field.pwcpos:.4f}"
    ]
    if not field.pwcpos_known:
        lines.append(
            "note: the header has no PWCPOS; the commanded angle is taken, and wavelengths may be "
            "off by 0.001 um, rows by 3 pixels."
        )
    if not field.subtracted:
        lines.append(
            "note: the header does not say that a background was subtracted (S_BKDSUB, BKGSUB). A "
            "rough sky is subtracted here, so sources are found, but the effects are less "
            "certain; run soss_template_bkg first."
        )
    return lines


def _source_lines(found: Contamination) -> list[str]:
    sources = found.detection.sources
    lines = [f"{len(sources)} sources", " no  what        column    row   peak DN/s  sigma  spoils"]
    for number, (one, intervals) in enumerate(zip(sources, found.intervals, strict=True), 1):
        orders = ", ".join(f"order {interval.order}" for interval in intervals) or "nothing"
        lines.append(
            f"{number:3d}  {one.kind:10s} {one.column:7.1f} {one.row:6.1f} {one.peak:11.2f} "
            f"{one.significance:6.1f}  {orders}"
        )
    return lines


def _row_lines(rows: list[TableRow]) -> list[str]:
    lines = [f"{len(rows)} intervals", "order  low um  high um  effect %  source"]
    for row in rows:
        one = row.interval
        lines.append(
            f"{one.order:5d} {one.low:7.4f} {one.high:8.4f} {100 * one.effect:9.2f} {row.source:7d}"
        )
    return lines
