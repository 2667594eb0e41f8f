"""The sub-command ``soss-photcal validate``.

Only the parser is made at import; what reads files is loaded when the command runs.
"""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_command", "run_command"]


def add_command(commands: Any) -> None:
    """Add the sub-command to a parser.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        What ``add_subparsers`` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "validate",
        help="try a new photom file on the spectra of a star that it was not made from",
        description="Bring the extracted spectra of an independent star through a new photom "
        "file, compare them with a model of the star, and print the ratio for ranges of "
        "wavelength outside the hydrogen lines. The ratio at each wavelength (_validate.ecsv) and "
        "a picture (_validate.png) are written beside.",
    )
    parser.add_argument(
        "x1d", nargs="+", metavar="X1D",
        help="x1d or x1dints files of one observation, or an association of them",
    )  # fmt: skip
    parser.add_argument("--photom", required=True, metavar="NEW", help="the new photom file")
    parser.add_argument(
        "--photom-used", required=True, metavar="USED",
        help="the photom file that the spectra were calibrated with",
    )  # fmt: skip
    parser.add_argument(
        "--model",
        required=True,
        help="model of the star, with vacuum wavelengths: FITS, ECSV or two columns of text, "
        "Angstrom and erg/s/cm2/Angstrom if it does not say otherwise",
    )
    parser.add_argument(
        "--ks", type=float, metavar="MAG",
        help="2MASS Ks magnitude that the model is scaled to; without it the model is taken at "
        "its own level",
    )  # fmt: skip
    parser.add_argument(
        "--av", type=float, default=0.0, metavar="MAG",
        help="extinction A(V) of the star; the model is reddened first (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--curve", choices=("rl85", "ccm89", "g23"), default="rl85",
        help="extinction curve: Rieke & Lebofsky 1985, as in the report, Cardelli et al. 1989, "
        "Gordon et al. 2023 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--rv", type=float, metavar="R",
        help="R(V) of ccm89 and g23 (default: 3.1); rl85 has 3.09",
    )  # fmt: skip
    parser.add_argument(
        "--kind", choices=("hot", "A", "solar"), default="A",
        help="kind of star, which sets the widths of the line windows (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--line-width", type=float, default=2.0, metavar="PIXELS",
        help="FWHM that the model is convolved with, 0 for none (default: %(default)s, that of "
        "SOSS)",
    )  # fmt: skip
    parser.add_argument(
        "--flux-unit", choices=("auto", "MJy", "Jy", "mJy"), default="auto",
        help="unit of the fluxes of the spectra; auto is what the files say",
    )  # fmt: skip
    parser.add_argument(
        "--range", action="append", default=[], dest="ranges", metavar="ORDER:LOW-HIGH",
        help="range of wavelengths, um, to give numbers for, in the place of the usual ones; may "
        "be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="ORDER:LOW-HIGH",
        help="range that does not count, for instance where the model is known to be poor; may be "
        "repeated",
    )  # fmt: skip
    parser.add_argument(
        "--out", default=".", metavar="DIR",
        help="folder for the table and the picture, made if it does not exist (default: the "
        "current one)",
    )  # fmt: skip


def run_command(options: argparse.Namespace) -> tuple[int, str]:
    """Run the sub-command and write its products.

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
        If an input cannot be used, or the spectra were not calibrated with the file that is
        said to be in use.
    """
    from dataclasses import fields

    from soss_photcal_steps.photom.validate_files import ValidationRequest, validate_files

    names = [one.name for one in fields(ValidationRequest)]
    request = ValidationRequest(**{name: getattr(options, name) for name in names})
    done = validate_files(request)
    return 0, "\n".join([*done.lines, *(f"wrote {place}" for place in done.places)])
