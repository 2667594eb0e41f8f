"""Files of simulated campaigns: spectra, models, ratio products; not a test."""

import json
import shutil
from pathlib import Path

from astropy.io import fits

from soss_photcal_steps.ratio.ratio_step import SossRatioStep
from soss_photcal_steps.simulate.calspec import write_model
from soss_photcal_steps.simulate.campaign import report_campaign
from soss_photcal_steps.simulate.references import write_references
from soss_photcal_steps.simulate.spectra import simulate_spectra
from soss_photcal_steps.simulate.spectrafile import write_spectra

#: Entries of a table of standards for three stars with simulated models.
THREE_STARS = {
    "bd60d1753": "{name: BD+60 1753, kind: A, calspec: bd60d1753_mod_sim.fits}",
    "p330e": "{name: GSPC P330-E, kind: solar, calspec: p330e_mod_sim.fits}",
    "p177d": "{name: GSPC P177-D, kind: solar, calspec: p177d_mod_sim.fits}",
}


def write_observation(plan, folder, photom):
    """Write the spectra of an observation, as if through a photom file; give them and the model."""
    model = folder / f"{plan.star.calspec}_mod_sim.fits"
    if not model.exists():
        write_model(plan.star, model)
    paths = [str(path) for path in write_spectra(simulate_spectra(plan), folder)]
    for path in paths:
        fits.setval(path, "R_PHOTOM", value=f"crds://{Path(photom).name}")
    return paths, model


def make_ratios(campaign, folder, photom):
    """Make the ratio products of a campaign; give their names."""
    names = []
    for plan in campaign.observations:
        if plan.star is None:
            continue
        spectra, model = write_observation(plan, folder, photom)
        with SossRatioStep.call(
            spectra, model=str(model), photom_file=str(photom), save_results=True,
            output_dir=str(folder),
        ) as product:  # fmt: skip
            names.append(product.meta.filename)
    return names


def write_list(path, names, product):
    """Write an association of which all members are for science."""
    members = [{"expname": str(name), "exptype": "science"} for name in names]
    path.write_text(json.dumps({"products": [{"name": product, "members": members}]}))
    return path


def write_three_stars(folder, name=None):
    """Write spectra of three stars, their models, the table, the list and the photom file.

    The photom file, which is given back, has the name of the reference pack or another.
    """
    given = write_references(folder / "references")["photom"]
    photom = Path(shutil.copy(given, folder / (name or Path(given).name)))
    shutil.rmtree(folder / "references")
    campaign = report_campaign(0, stability=0, max_nints=2, grey_scatter=0, shape_scatter=0)
    for plan in campaign.observations:
        if plan.star.calspec in THREE_STARS and plan.program != 6606:
            write_observation(plan, folder, photom)
    (folder / "standards.yaml").write_text(
        "stars:\n" + "".join(f"- {text}\n" for text in THREE_STARS.values())
    )
    names = sorted(path.name for path in folder.glob("*x1dints.fits"))
    assert len(names) == 3
    write_list(folder / "asn.json", names, "trial")
    return photom
