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
    from soss_photcal_steps.contamination.predict import Expected
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
        "--gaia", action="store_true",
        help="ask the archive of Gaia for the neighbouring stars, in the place of --catalogue",
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
    if options.catalogue and options.gaia:
        raise SossInputError("Give --catalogue or --gaia, not both.")
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
    rows = table_rows(found.sources, found.intervals)
    expected, notes = _expected(options, field, found)
    lines = [*_head(field), *_source_lines(found), "", *_row_lines(rows), *notes]
    if options.output:
        write_table(options.output, rows)
        lines.append(f"wrote {options.output}")
    if options.plot:
        _plot(options, field, found, expected)
        lines.append(f"wrote {options.plot}")
    return 0, "\n".join(lines)


def _expected(
    options: argparse.Namespace, field: FieldImage, found: Contamination
) -> tuple[list[Expected], list[str]]:
    """Predict zero orders from a catalogue, shifted to what was found where that is clear."""
    if not options.catalogue and not options.gaia:
        return [], []
    from soss_photcal_steps.contamination import gaia, predict

    if field.target is None or field.roll is None:
        raise SossInputError(
            f"{field.name} does not have TARG_RA, TARG_DEC and ROLL_REF in its header, which the "
            "prediction of zero orders needs; leave out --catalogue and --gaia."
        )
    if options.catalogue:
        stars = predict.read_catalogue(options.catalogue)
    else:
        stars = gaia.query_gaia(*field.target)
    model = predict.ZeroOrderModel()

    def positions(one: predict.ZeroOrderModel, reach: float) -> list[Expected]:
        return predict.expected_zero_orders(
            stars, field.target or (0.0, 0.0), field.roll or 0.0,
            v3_ideal=field.v3_ideal or 0.0, parity=field.parity or -1, epoch=field.epoch,
            model=one, rows=(float(field.lines[0]) - reach, float(field.lines[-1]) + reach),
            columns=(-reach, field.image.shape[1] + reach),
        )  # fmt: skip

    places = [(one.column, one.row) for one in found.detection.sources if one.kind == "zero order"]
    columns, rows, pairs = predict.fit_shift(positions(model, 120.0), places)
    if pairs >= 3:
        model = predict.shift_model(model, columns, rows)
    expected = positions(model, 15.0)
    notes = [
        "",
        f"{len(expected)} zero orders expected from {len(stars)} stars; model: {model.source}; "
        + (
            f"{pairs} agree with a source"
            if pairs >= 3
            else "fewer than three agree with a source, so the places may be off by 20 pixels "
            "and more"
        ),
        "  column    row    mag  name",
    ]
    notes += [
        f"{one.column:8.1f} {one.row:6.1f} {one.star.magnitude:6.2f}  {one.star.name}"
        for one in expected
    ]
    return expected, notes


def _plot(
    options: argparse.Namespace,
    field: FieldImage,
    found: Contamination,
    expected: list[Expected],
) -> None:
    import numpy as np

    from soss_photcal_steps.contamination.find import traces_of
    from soss_photcal_steps.files import atomic_path
    from soss_photcal_steps.report.contamination_figure import contamination_figure

    rest = np.where(field.good, found.image - found.detection.smooth.model, np.nan)
    figure = contamination_figure(
        np.where(field.good, found.image, np.nan), rest, field.lines,
        traces_of(field.filter, field.pwcpos, field.image.shape[1]), found.sources,
        found.intervals, f"{field.name}: {len(found.sources)} sources",
        half_width=options.half_width, expected=expected,
    )  # fmt: skip
    with atomic_path(options.plot) as temporary:
        figure.savefig(temporary, dpi=110)


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
    from soss_photcal_steps.contamination.find import BREAK_COLUMNS

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
            f"rough sky is subtracted here: the effects are less certain, and columns "
            f"{BREAK_COLUMNS[0]} to {BREAK_COLUMNS[1]}, at the break, are left out; run "
            "soss_template_bkg first."
        )
    return lines


def _source_lines(found: Contamination) -> list[str]:
    sources = found.sources
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
