"""Ask the Gaia archive for the neighbours of a target."""

from __future__ import annotations

import csv
import io
import urllib.error
import urllib.parse
import urllib.request

from soss_photcal_steps.contamination.predict import CatalogueStar
from soss_photcal_steps.errors import SossInputError

__all__ = ["GAIA_TAP", "query_gaia"]

#: Synchronous TAP service of the Gaia archive.
GAIA_TAP = "https://gea.esac.esa.int/tap-server/tap/sync"
_COLUMNS = ("source_id", "ra", "dec", "phot_g_mean_mag", "pmra", "pmdec", "ref_epoch")


def query_gaia(
    ra: float,
    dec: float,
    radius: float = 4.0,
    faintest: float = 20.0,
    *,
    url: str = GAIA_TAP,
    timeout: float = 60.0,
) -> list[CatalogueStar]:
    """Get the stars of Gaia DR3 around a position.

    Parameters
    ----------
    ra, dec : float
        Position, degrees.
    radius : float, optional
        Radius, arcmin.  Zero orders on the detector belong to stars up to 3.4 arcmin away.
    faintest : float, optional
        Faintest G magnitude.
    url : str, optional
        The TAP service.
    timeout : float, optional
        Longest wait, seconds.

    Returns
    -------
    list of CatalogueStar
        The stars.

    Raises
    ------
    SossInputError
        If the service cannot be reached or answers with something else than a table.
    """
    adql = (
        f"SELECT {', '.join(_COLUMNS)} FROM gaiadr3.gaia_source WHERE 1 = CONTAINS("
        f"POINT('ICRS', ra, dec), CIRCLE('ICRS', {float(ra):.8f}, {float(dec):.8f}, "
        f"{float(radius) / 60:.6f})) AND phot_g_mean_mag < {float(faintest):.3f}"
    )
    form = {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "csv", "QUERY": adql}
    data = urllib.parse.urlencode(form).encode("ascii")
    try:
        with urllib.request.urlopen(url, data, timeout=timeout) as answer:
            text = answer.read().decode("utf-8")
    except (urllib.error.URLError, OSError, UnicodeDecodeError) as error:
        raise SossInputError(
            f"The Gaia archive at {url} gives no answer ({error}); a table of stars can be given "
            "with --catalogue."
        ) from error
    reader = csv.DictReader(io.StringIO(text))
    if reader.fieldnames is None or not set(_COLUMNS) <= set(reader.fieldnames):
        raise SossInputError(f"The Gaia archive at {url} answered without a table of stars.")
    try:
        return [
            CatalogueStar(
                row["source_id"], float(row["ra"]), float(row["dec"]),
                float(row["phot_g_mean_mag"]), float(row["pmra"] or 0), float(row["pmdec"] or 0),
                float(row["ref_epoch"]),
            )
            for row in reader
        ]  # fmt: skip
    except (ValueError, TypeError) as error:
        raise SossInputError(
            f"The Gaia archive at {url} gave a table with a bad value: {error}."
        ) from error
