"""Files: is it readable, what is its checksum, and how to write one without risk."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from astropy.io import fits

from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.fitsblocks import CutOffError, datasum, scan_fits
from soss_photcal_steps.leftovers import scratch_prefix

__all__ = [
    "FULL_CHECKSUM_LIMIT",
    "Fingerprint",
    "atomic_path",
    "check_cards",
    "check_fits",
    "fingerprint",
    "is_association",
    "is_same_file",
    "open_data",
]

log = logging.getLogger(__name__)

#: Files up to this size, in bytes, are hashed completely by default; it takes up to a second.
FULL_CHECKSUM_LIMIT = 256 * 2**20
# A sampled checksum reads this many blocks of this many bytes, evenly spread over the file.
_SAMPLES = 64
_SAMPLE_SIZE = 2**18
# The data of larger files, in bytes, are not compared with their DATASUM: it would take seconds.
_DATASUM_LIMIT = 256 * 2**20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Fingerprint:
    """What identifies an input file.

    Attributes
    ----------
    name : str
        File name without its folder.
    size : int
        Size in bytes.
    method : {"full", "sampled", "none"}
        Whether the checksum is over the whole file, over samples of it, or was not wanted.
    sha256 : str
        Hexadecimal SHA-256; empty for the method "none".
    """

    name: str
    size: int
    method: str
    sha256: str

    def as_dict(self) -> dict[str, str | int]:
        """Give the fields as a dictionary of plain Python values.

        Returns
        -------
        dict
            Name to value.
        """
        return asdict(self)


def fingerprint(path: str | os.PathLike[str], method: str = "auto") -> Fingerprint:
    """Identify a file by name, size and checksum.

    A series of several GB takes many seconds to hash completely, longer than to calibrate it.
    Such a file is sampled: the SHA-256 is over its size, as a decimal number in ASCII, followed
    by 64 blocks of 256 KiB, block i beginning at byte i * (size - 256 KiB) // 63.  That tells
    apart two exposures, or two versions of one, but does not prove that no byte was changed.

    Parameters
    ----------
    path : path
        The file.
    method : {"auto", "full", "sampled", "none"}, optional
        "full" hashes the whole file, as the command ``sha256sum`` does; "sampled" as above;
        "none" takes name and size only; "auto" is "full" up to `FULL_CHECKSUM_LIMIT` bytes
        and "sampled" beyond.

    Returns
    -------
    Fingerprint
        Name, size and checksum, and the method that was used.

    Raises
    ------
    SossInputError
        If the file cannot be read.
    ValueError
        If there is no such method.
    """
    if method not in ("auto", "full", "sampled", "none"):
        raise ValueError(f"unknown checksum method {method!r}")
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if method == "auto":
                method = "full" if size <= FULL_CHECKSUM_LIMIT else "sampled"
            # A file that is not larger than the samples together has nothing to be sampled.
            if method == "sampled" and size <= _SAMPLES * _SAMPLE_SIZE:
                method = "full"
            if method == "none":
                digest = ""
            elif method == "full":
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            else:
                sampled = hashlib.sha256(str(size).encode("ascii"))
                for i in range(_SAMPLES):
                    stream.seek(i * (size - _SAMPLE_SIZE) // (_SAMPLES - 1))
                    sampled.update(stream.read(_SAMPLE_SIZE))
                digest = sampled.hexdigest()
    except OSError as error:
        raise SossInputError(f"The file {path} cannot be read: {error.strerror}.") from error
    return Fingerprint(Path(path).name, size, method, digest)


@contextmanager
def open_data(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to read its bytes, those that were packed if it is packed by gzip.

    Parameters
    ----------
    path : path
        The file.

    Yields
    ------
    file
        A binary stream in which one can seek.
    """
    with open(path, "rb") as stream:
        packed = stream.read(2) == _GZIP
        stream.seek(0)
        if not packed:
            yield stream
            return
        with gzip.open(stream) as unpacked:
            yield cast(BinaryIO, unpacked)


def check_fits(path: str | os.PathLike[str]) -> None:
    """Make sure that a FITS file is there, is one, and is complete.

    Only the headers are read, and of a file of up to 256 MiB whose headers have a DATASUM the
    data: where they do not agree the log says so.  astropy and stdatamodels open a truncated
    file with no more than a warning, and replace what is missing by zeros or defaults; over a
    negative size astropy reads for ever.

    Parameters
    ----------
    path : path
        The file, which may be packed by gzip.

    Raises
    ------
    SossInputError
        If the file is missing, is a folder, cannot be read, is not FITS, ends too early, or
        holds what no header tells of.
    """
    if not os.path.exists(path):
        raise SossInputError(f"The file {path} does not exist.")
    if not os.path.isfile(path):
        raise SossInputError(f"{path} is not a file; the path of a FITS file is needed.")
    try:
        with open_data(path) as stream:
            size = stream.seek(0, os.SEEK_END)
            parts = scan_fits(stream, size)
    except CutOffError:
        raise SossInputError(
            f"The file {path} is truncated at {size} bytes; copy or download it again."
        ) from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        why = error.strerror if isinstance(error, PermissionError) else reason(error)
        raise SossInputError(f"The file {path} is not a readable FITS file: {why}.") from error
    if any(part.datasum for part in parts) and size <= _DATASUM_LIMIT:
        found = os.stat(path)
        for name in _wrong_sums(os.fspath(path), found.st_mtime_ns, found.st_size):
            log.warning(
                "The data of %s in %s do not agree with their DATASUM: the file was damaged, or "
                "changed without a new DATASUM.",
                name or "an extension",
                path,
            )


@lru_cache(maxsize=64)
def _wrong_sums(path: str, changed: int, size: int) -> tuple[str, ...]:
    """Name the HDUs whose data have another sum; each version of a file is read once."""
    with open_data(path) as stream:
        parts = scan_fits(stream, stream.seek(0, os.SEEK_END))
        return tuple(
            part.name for part in parts if part.datasum and part.datasum != datasum(stream, part)
        )


def check_cards(header: fits.Header, path: str | os.PathLike[str]) -> None:
    """Make sure that each card of a header can be read.

    astropy reads a card only when it is asked for, and then says no file.

    Parameters
    ----------
    header : astropy.io.fits.Header
        The header.
    path : path
        Its file, for the message.

    Raises
    ------
    SossInputError
        If a card is damaged.
    """
    for card in header.cards:
        try:
            if not card.rawkeyword.isprintable():
                raise ValueError("a keyword holds control characters")
            _ = card.value, card.comment
        except (fits.VerifyError, ValueError) as error:
            raise SossInputError(
                f"The card {reason(ValueError(card.rawkeyword))} in a header of {path} cannot be "
                "read; the file is damaged."
            ) from error


def is_association(item: object) -> bool:
    """Tell by its name whether an input is an association.

    Parameters
    ----------
    item : object
        Anything that a step or a command is given.

    Returns
    -------
    bool
        True for a path that ends in ``.json``; False for other paths and for what is no path.
    """
    return isinstance(item, str | os.PathLike) and os.fspath(item).lower().endswith(".json")


def is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Tell whether two paths are the same file, links and spelling aside.

    Parameters
    ----------
    one, other : path
        The paths; the files need not exist.

    Returns
    -------
    bool
        True if writing to one would change the other.
    """
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a path to write to, and move what was written to its final place at the end.

    The temporary path has the same file name, because data models write their name into
    the header, and lies in a hidden folder beside the final path, so that the move is a
    renaming.  If anything fails, the temporary file is removed and whatever was at the final
    path is still there, unchanged.  What a killed process leaves, `remove_leftovers` can tell.

    Parameters
    ----------
    path : path
        The final path.

    Yields
    ------
    str
        The temporary path.

    Raises
    ------
    SossInputError
        If the folder does not exist or cannot be written to.
    """
    target = Path(path)
    try:
        folder = tempfile.mkdtemp(prefix=scratch_prefix(), dir=target.parent)
    except OSError as error:
        raise SossInputError(
            f"{target} cannot be written: {error.strerror} ({target.parent})."
        ) from error
    try:
        temporary = os.path.join(folder, target.name)
        yield temporary
        os.replace(temporary, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
