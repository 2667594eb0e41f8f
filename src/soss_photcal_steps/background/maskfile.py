"""The image of pixels that the user leaves out of the background fit: reading and writing it."""

from __future__ import annotations

import os

import numpy as np
from astropy.io import fits

from soss_photcal_steps.background.window import Window
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path, check_cards, check_fits

__all__ = ["read_mask", "write_mask_image"]


def read_mask(path: str | os.PathLike[str], wanted: Window) -> np.ndarray:
    """Read which pixels the fit leaves out.

    Parameters
    ----------
    path : path
        FITS file; its first image counts, wherever it is not 0.  SUBSTRT1, SUBSTRT2, SUBSIZE1
        and SUBSIZE2, or SUBARRAY, say what it covers.
    wanted : Window
        What the data cover.

    Returns
    -------
    ndarray of bool
        True where a pixel is left out, shape (wanted.n_rows, wanted.n_columns).

    Raises
    ------
    SossInputError
        If the file cannot be read, has no image, or does not cover the data.
    """
    check_fits(path)
    name = f"The mask {os.path.basename(path)}"
    with fits.open(path, memmap=False) as hdus:
        image = next((hdu for hdu in hdus if hdu.is_image and hdu.data is not None), None)
        if image is None or image.data.ndim != 2:
            shape = None if image is None else image.data.shape
            raise SossInputError(
                f"{name} must hold an image of shape (rows, columns), not {shape}."
            )
        for hdu in (hdus[0], image):
            check_cards(hdu.header, path)
        keys = ("SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")
        header = {key: image.header.get(key, hdus[0].header.get(key)) for key in keys}
        excluded = image.data != 0
    window = Window.from_header(name, header, excluded.shape)
    part = window.part(wanted)
    if part is None:
        raise SossInputError(f"{name} covers {window} of the detector, the data cover {wanted}.")
    return excluded[part]


def write_mask_image(path: str | os.PathLike[str], excluded: np.ndarray, window: Window) -> None:
    """Write which pixels the fit leaves out.

    Parameters
    ----------
    path : path
        File to be written; it is replaced as a whole.
    excluded : ndarray of bool
        True where a pixel is left out, shape (n_rows, n_columns).
    window : Window
        What it covers.
    """
    image = fits.PrimaryHDU(np.asarray(excluded, np.uint8))
    for key, value in (
        ("SUBSTRT1", window.first_column + 1),
        ("SUBSTRT2", window.first_row + 1),
        ("SUBSIZE1", window.n_columns),
        ("SUBSIZE2", window.n_rows),
    ):
        image.header[key] = value
    image.header["COMMENT"] = "1: left out of the background fit of soss_template_bkg"
    with atomic_path(path) as temporary:
        image.writeto(temporary)
