"""Subtract a background from file to file, in memory that does not grow with the length.

Only the pixels of SCI and the metadata change.  Everything else is copied by the operating
system, byte for byte.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from asdf import treeutil
from astropy.io import fits
from stdatamodels import fits_support

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path, is_same_file
from soss_photcal_steps.ratefile import CHUNK_SIZE, RateFile
from soss_photcal_steps.ratelayout import CUBES, Extension
from soss_photcal_steps.unread import UnreadArrays, is_stand_in

__all__ = ["add_variance", "write_subtracted"]

#: An image, or what gives those of the integrations from start up to stop.
Images = np.ndarray | Callable[[int, int], np.ndarray]

# The operating system copies this much at a time, and can be interrupted in between, bytes.
_COPY_SIZE = 2**25
_COPY_BUFFER = 2**20
# What copy_file_range says where the kernel or the file system cannot do it.
_CANNOT_COPY = (
    errno.ENOSYS,
    errno.EXDEV,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EBADF,
    errno.ETXTBSY,
)
_CHECKSUMS = ("CHECKSUM", "DATASUM")
_FITS_BLOCK = 2880


@dataclass(frozen=True)
class _Part:
    """A piece of the new file: bytes, or a range of the source, or a cube that is edited."""

    size: int
    content: bytes | None = None
    source_start: int = 0
    cube: str = ""


def write_subtracted(
    source: RateFile,
    path: str | os.PathLike[str],
    model: Any,
    background: Images,
    *,
    extra_variance: Images | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a file like `source`, with a background subtracted and new metadata.

    The result is the file that one gets by opening `source` as a data model, subtracting from
    its ``data``, and saving it, but that extensions which do not change are copied with their
    headers.  Checksum cards of the others are left out.  The new file appears when it is
    complete; if anything fails, nothing is left behind.

    Parameters
    ----------
    source : RateFile
        What is subtracted from; it must be streamable.
    path : path
        The new file; it must not be the source.
    model : JwstDataModel
        Metadata, from `open_metadata`; like every model that is saved, it learns its new file
        name and date.  Its arrays do not matter.
    background : ndarray or callable
        What is subtracted from every integration, shape (ny, nx), DN/s; or a function of the
        first integration and the one after the last that gives it for these, shape
        (n, ny, nx) or any that broadcasts to it.
    extra_variance : ndarray or callable, optional
        Variance that is added to VAR_RNOISE and, in quadrature, to ERR, (DN/s)^2; see
        `add_variance`.
    progress : callable, optional
        Called with the number of integrations that are done and of all.

    Raises
    ------
    SossInputError
        If the source cannot be read in parts, is the target, or the file cannot be written.
    """
    if not source.streamable:
        raise SossInputError(f"The file {source.path} cannot be read in parts: {source.reason}.")
    if is_same_file(source.path, path):
        raise SossInputError(
            f"The product would overwrite the input {source.path}; choose another name."
        )
    edited = ["SCI"]
    if extra_variance is not None:
        edited += [name for name in ("ERR", "VAR_RNOISE") if name in source]
    parts = list(_layout(source, model, os.fspath(path), edited))
    try:
        with atomic_path(path) as temporary:
            _check_space(temporary, sum(part.size for part in parts))
            _write(source, temporary, parts, background, extra_variance, progress)
    except OSError as error:
        raise SossInputError(f"{path} cannot be written: {error.strerror or error}.") from error


def add_variance(errors: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Add a variance to errors in quadrature.

    Parameters
    ----------
    errors : ndarray
        Standard errors, float32.
    variance : ndarray
        Variance that is added, in the square of their unit.

    Returns
    -------
    ndarray
        Errors, float32.
    """
    return np.sqrt(errors * errors + np.asarray(variance, np.float32))


def _layout(source: RateFile, model: Any, path: str, edited: list[str]) -> Iterator[_Part]:
    """List what the new file consists of, from its beginning to its end."""
    new = _headers_and_metadata(model, path, edited)
    ours = {(hdu.name, hdu.ver): hdu for hdu in new}
    theirs = {(extension.name, extension.version) for extension in source.extensions}
    kept = [extension for extension in source.extensions if extension.name != "ASDF"]
    headers = {
        extension.name: _new_header(extension, ours, edited)
        for extension in kept
        if extension.name in ("PRIMARY", *edited)
    }
    added = [hdu for key, hdu in ours.items() if key not in theirs and hdu.name != "ASDF"]

    for extension in kept:
        header = headers.get(extension.name)
        if header is None:
            # Header and data in one piece.
            size = extension.end - extension.header_start
            yield _Part(size, source_start=extension.header_start)
            continue
        with _quiet_cards():
            text = header.tostring().encode("ascii")
        yield _Part(len(text), content=text)
        if extension.name in edited:
            size = source.integration_bytes * source.n_integrations
            yield _Part(size, cube=extension.name)
            padding = bytes(-size % _FITS_BLOCK)
            yield _Part(len(padding), content=padding)

    in_file = [
        SimpleNamespace(name=extension.name, header=headers.get(extension.name, extension.header))
        for extension in kept
    ]
    tail = _hdu_bytes([*added, new["ASDF"]])
    # data models compare this hash with the headers, and trust the ASDF tree only if it agrees.
    old_hash = fits_support.fits_hash(new)
    new_hash = fits_support.fits_hash([*in_file, *added])
    key = f"{fits_support.FITS_HASH_KEY}: "
    tail = tail.replace((key + old_hash).encode(), (key + new_hash).encode())
    yield _Part(len(tail), content=tail)


def _new_header(extension: Extension, ours: dict[Any, Any], edited: list[str]) -> fits.Header:
    """Give the header from the model; for a changed error array, the old one."""
    if extension.name in ("PRIMARY", "SCI"):
        return ours[extension.name, extension.version].header
    header = extension.header.copy()
    for keyword in _CHECKSUMS:
        header.remove(keyword, ignore_missing=True)
    return header


def _headers_and_metadata(model: Any, path: str, edited: list[str]) -> fits.HDUList:
    """Let stdatamodels make the HDUs of a model, with arrays that take no memory."""
    model.on_save(path)
    tree = _replace_stand_ins(model.instance)
    for name in ("PRIMARY", *edited):
        cards = tree.get("extra_fits", {}).get(name, {})
        if "header" in cards:
            cards["header"] = [card for card in cards["header"] if card[0] not in _CHECKSUMS]
    with _quiet_cards():
        return fits_support.to_fits(tree, model.schema)


def _replace_stand_ins(tree: Any) -> Any:
    """Replace stand-ins, of which stdatamodels would make real arrays to save them."""
    unread = UnreadArrays()

    def replace(node: Any) -> Any:
        return unread.array(node.shape, node.dtype) if is_stand_in(node) else node

    return treeutil.walk_and_modify(tree, replace)


@contextmanager
def _quiet_cards() -> Iterator[None]:
    """Hold back astropy's remarks on cards that were in the source already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Card is too long")
        warnings.filterwarnings("ignore", message="Keyword name .* HIERARCH card will be created")
        yield


def _hdu_bytes(hdus: list[Any]) -> bytes:
    """Write extensions as they are in a file."""
    buffer = io.BytesIO()
    primary = fits.PrimaryHDU()
    with _quiet_cards():
        fits.HDUList([primary, *hdus]).writeto(buffer)
    return buffer.getvalue()[len(primary.header.tostring()) :]


def _check_space(path: str, size: int) -> None:
    """Refuse at once what would fill the disk in the end."""
    if shutil.disk_usage(os.path.dirname(path)).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write(
    source: RateFile,
    path: str,
    parts: list[_Part],
    background: Images,
    extra_variance: Images | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write all parts, in the order of the file.

    Copying in a second thread was tried: it gains nothing, as both wait for the same memory
    and disk.
    """
    with open(source.path, "rb", buffering=0) as old, open(path, "wb", buffering=0) as new:
        for part in parts:
            if part.content is not None:
                _write_all(new, part.content)
            elif part.cube == "SCI":
                _edit(source, new, "SCI", _subtract, background, progress)
            elif part.cube == "ERR":
                _edit(source, new, "ERR", _add_to_errors, extra_variance)
            elif part.cube:
                _edit(source, new, part.cube, np.add, extra_variance)
            else:
                _copy_range(old.fileno(), new.fileno(), part.source_start, part.size)


def _subtract(data: np.ndarray, image: np.ndarray, out: np.ndarray) -> None:
    np.subtract(data, image, out=out)


def _add_to_errors(data: np.ndarray, image: np.ndarray, out: np.ndarray) -> None:
    out[...] = add_variance(data, image)


def _edit(
    source: RateFile,
    target: io.FileIO,
    name: str,
    operation: Callable[..., Any],
    images: Any,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Apply an operation to a cube, a few integrations at a time."""
    n, shape = source.n_integrations, source.shape[-2:]
    step = min(max(1, CHUNK_SIZE // source.integration_bytes), n)
    stored = source[name].stored_type
    buffer = np.empty((step, *shape), stored)
    # numpy works on the file's byte order as fast as we could swap it.
    result = buffer if buffer.itemsize == 4 else np.empty((step, *shape), CUBES["SCI"])
    for start in range(0, n, step):
        stop = min(start + step, n)
        raw = source.read_raw(name, start, buffer[: stop - start])
        out = result[: stop - start]
        if out.dtype != raw.dtype:
            out[...] = raw
            raw = out
        image = images(start, stop) if callable(images) else images
        # NaN and infinity are data here, not accidents.
        with np.errstate(invalid="ignore", over="ignore"):
            operation(raw, image, out=out)
        if out.dtype.byteorder == "=":
            out = out.astype(out.dtype.newbyteorder(">"))
        _write_all(target, out.reshape(-1).view(np.uint8).data)
        if progress is not None:
            progress(stop, n)


def _write_all(target: io.FileIO, content: bytes | memoryview) -> None:
    """Write bytes, of which the system may take less than it is given at a time."""
    view = memoryview(content)
    while view:
        view = view[target.write(view) :]


def _copy_range(source: int, target: int, start: int, size: int) -> None:
    """Copy bytes of one open file to the end of another, within the kernel where possible."""
    in_kernel = hasattr(os, "copy_file_range")
    end = start + size
    while start < end:
        count = 0
        if in_kernel:
            try:
                count = os.copy_file_range(source, target, min(end - start, _COPY_SIZE), start)
            except OSError as error:
                if error.errno not in _CANNOT_COPY:
                    raise
            # Some file systems say that they copied nothing instead of that they cannot.
            in_kernel = count > 0
        else:
            content = os.pread(source, min(end - start, _COPY_BUFFER), start)
            if not content:
                raise OSError(errno.EIO, "the source ended while it was copied")
            count = os.write(target, content)
        start += count
