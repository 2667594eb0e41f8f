"""The real frame of BD+60 1753 as a rate file with a library; not a test itself."""

import os
from pathlib import Path

import numpy as np
from scipy.ndimage import median_filter
from stdatamodels.jwst import datamodels

from soss_photcal_steps.simulate import SceneParams, TemplateLibrary, make_exposure
from soss_photcal_steps.simulate.write import write_rate

DATA = Path(os.environ.get("SOSS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
FRAME = DATA / "soss_frames" / "jw01512001001_03102_00001_nis_demo_pwcpos_245.778671.npy"
TEMPLATE = DATA / "crds_ref" / "model_background96.npy"
PHOTOM = DATA / "crds_ref" / "jwst_niriss_photom_rev2.fits"
CALSPEC = DATA / "calspec" / "bd60d1753_stiswfc_004.fits.gz"
PWCPOS = 245.778671
# Rows that the template is for, and the tilt of its break, columns per row.
_ROWS, _TILT = slice(10, 106), 0.032


def real_library():
    """Give the published template of 96 rows, continued along its break to 256."""
    template = np.load(TEMPLATE).astype(float)
    columns = np.arange(template.shape[1], dtype=float)
    known = (template > 0).all(axis=0)
    rows = np.arange(_ROWS.start, _ROWS.stop)
    mean = np.mean(
        [
            np.interp(columns + _TILT * row, columns[known], line[known])
            for row, line in zip(rows, template, strict=True)
        ],
        axis=0,
    )
    image = [np.interp(columns - _TILT * row, columns, mean) for row in range(256)]
    data = np.array(image, dtype=np.float32)[None]
    return TemplateLibrary(data, ("model_background96",), "SUBSTRIP256")


def write_frame(path, library):
    """Write the frame with errors from its scatter; what stands out of its row is bad."""
    image = np.load(FRAME).astype(np.float32)
    second = image[:, 1:-1] - 0.5 * (image[:, :-2] + image[:, 2:])
    sky = image[:, 1:-1] < np.nanpercentile(image, 40)
    sigma = np.median(np.abs(second[sky])) / 0.6745 / np.sqrt(1.5)
    level = np.median(image[:, 1:-1][sky])
    error = (sigma * np.sqrt(np.maximum(image, level) / level)).astype(np.float32)
    smooth = median_filter(image, (1, 5))
    bad = ~np.isfinite(image) | (image == 0)
    bad |= np.abs(image - smooth) > np.maximum(8 * error, 0.15 * np.abs(smooth))
    border = np.zeros(image.shape, bool)
    border[:, :4] = border[:, -4:] = border[-4:] = True
    dq = np.where(bad, np.uint32(1), np.uint32(0))
    dq[border] |= np.uint32(2**31 + 1)
    image[dq > 0] = np.nan
    # The header is that of a simulated exposure at the same angle.
    write_rate(make_exposure(SceneParams(nints=1, pwcpos=PWCPOS), library), path)
    with datamodels.ImageModel(path) as model:
        model.data, model.dq, model.err = image, dq, error
        model.var_rnoise, model.var_poisson = error**2, np.zeros_like(error)
        model.save(path)
    return path
