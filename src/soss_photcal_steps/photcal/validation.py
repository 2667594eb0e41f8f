"""Try the new photom file on stars that did not take part in it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photcal.members import Observation
from soss_photcal_steps.photom.validate_files import (
    ValidationOutcome,
    ValidationRequest,
    validate_files,
)
from soss_photcal_steps.ratio.standards import StandardsTable
from soss_photcal_steps.ratio.stars import find_calspec

__all__ = ["validate_star"]


def validate_star(
    one: Observation,
    spectra: Sequence[str],
    new: str,
    old: str,
    table: StandardsTable,
    folder: str,
    *,
    flux_unit: str = "auto",
    calspec_dir: str | None = None,
    download: bool = True,
) -> ValidationOutcome:
    """Bring the spectra of a star through the new photom file and compare them with its model.

    Parameters
    ----------
    one : Observation
        The observation, with what the association says of its star.
    spectra : sequence of str
        Its files of spectra.
    new, old : str
        The new photom file, and the one that the spectra went through.
    table : StandardsTable
        The standard stars; a test star that is one of them has its CALSPEC model.
    folder : str
        Where the table (_validate.ecsv) and the picture (_validate.png) go.
    flux_unit : str, optional
        Unit of the fluxes.
    calspec_dir : str, optional
        Folder of CALSPEC files.
    download : bool, optional
        Whether a CALSPEC file may be fetched.

    Returns
    -------
    ValidationOutcome
        What came out.

    Raises
    ------
    SossInputError
        If there is no model, or an input cannot be used.
    """
    star = table.by_name(one.target)
    model = one.model.get("model")
    if model is None:
        if star is None or not star.calspec:
            raise SossInputError(
                f"{one.name}: there is no model of {one.target or 'a star without a name'}; name "
                "one in the association, with model, and with ks and av if they are needed."
            )
        model = find_calspec(star.calspec, folder=calspec_dir, download=download).path
    elif not os.path.isfile(model):
        raise SossInputError(f"{one.name}: the model {model} does not exist.")
    return validate_files(
        ValidationRequest(
            x1d=list(spectra),
            photom=new,
            photom_used=old,
            model=str(model),
            ks=one.model.get("ks"),
            av=float(one.model.get("av", 0.0)),
            kind=str(one.model.get("kind") or (star.kind if star else "A")),
            flux_unit=flux_unit,
            out=folder,
        )
    )
