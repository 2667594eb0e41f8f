"""What the header of a photom file says for its delivery, in characters that FITS can hold."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from soss_photcal_steps.errors import SossInputError

__all__ = [
    "DeliveryHeader",
    "history_cards",
    "is_useafter",
    "parse_day",
    "pedigree",
    "to_ascii",
]

# HISTORY cards hold 72 characters.
_HISTORY_WIDTH = 72
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_USEAFTER = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")
# Signs that have no decomposition into ASCII but a usual spelling.
_SPELLING = str.maketrans({
    "µ": "u", "μ": "u", "λ": "lambda", "σ": "sigma", "α": "alpha", "β": "beta", "γ": "gamma",
    "τ": "tau", "χ": "chi", "Δ": "Delta", "±": "+/-", "×": "x", "·": ".", "÷": "/", "−": "-",
    "–": "-", "—": "-", "‐": "-", "‑": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "«": '"',
    "»": '"', "°": " deg", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "ß": "ss", "ø": "o",
    "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "đ": "d", "ı": "i",
})  # fmt: skip


@dataclass(frozen=True)
class DeliveryHeader:
    """Header of a photom file, as far as a person has to answer for it.

    Attributes
    ----------
    author : str
        Who made the file, for AUTHOR.
    pedigree : str
        PEDIGREE: ``INFLIGHT YYYY-MM-DD YYYY-MM-DD``, see `pedigree`, or ``SIMULATION``.
    description : str
        One line for DESCRIP.  The unit of ``photmj`` is appended to it.
    useafter : str or None
        Date and time from which observations use the file, for USEAFTER, in the form
        ``YYYY-MM-DDTHH:MM:SS``.  None takes over that of the old file.
    history : tuple of str
        Lines put at the head of HISTORY, such as the method of the combination.
    """

    author: str
    pedigree: str
    description: str = "NIRISS SOSS absolute flux calibration"
    useafter: str | None = None
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a header with which the file could not be delivered."""
        for name in ("author", "description"):
            if not getattr(self, name).strip():
                raise SossInputError(f"The header of the photom file needs a text for {name}.")
        words = self.pedigree.split()
        dated = len(words) == 3 and words[0] == "INFLIGHT"
        if dated:
            dated = parse_day(words[1]) is not None and parse_day(words[2]) is not None
        if not dated and words not in (["SIMULATION"], ["GROUND"], ["MODEL"], ["DUMMY"]):
            raise SossInputError(
                f"The pedigree {self.pedigree!r} is not valid; it must be INFLIGHT YYYY-MM-DD "
                "YYYY-MM-DD with the dates of the first and last observation, or SIMULATION."
            )
        if dated and words[1] > words[2]:
            raise SossInputError(f"The pedigree {self.pedigree!r} ends before it begins.")
        if self.useafter is not None and not is_useafter(self.useafter):
            raise SossInputError(
                f"The use-after date {self.useafter!r} must have the form YYYY-MM-DDTHH:MM:SS."
            )


def parse_day(text: str) -> date | None:
    """Read a day.

    Parameters
    ----------
    text : str
        The day, YYYY-MM-DD.

    Returns
    -------
    datetime.date or None
        The day, None if the text has another form or there is no such day.
    """
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def is_useafter(text: str) -> bool:
    """Tell whether a text is a date and time as USEAFTER wants it.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    bool
        True for YYYY-MM-DDTHH:MM:SS with a day and a time that exist.
    """
    if not _USEAFTER.fullmatch(text) or parse_day(text[:10]) is None:
        return False
    hour, minute, second = (int(part) for part in text[11:].split(":"))
    return hour < 24 and minute < 60 and second < 60


def pedigree(dates: Iterable[str]) -> str:
    """Make the PEDIGREE of a file that was derived from observations.

    Parameters
    ----------
    dates : iterable of str
        Dates of the observations, DATE-OBS, in the form YYYY-MM-DD; a time after it is ignored.

    Returns
    -------
    str
        ``INFLIGHT``, the first and the last date.

    Raises
    ------
    SossInputError
        If there is no date, or one has another form.
    """
    days = sorted(text[:10] for text in dates)
    if not days:
        raise SossInputError("The pedigree needs the date of at least one observation.")
    for text in days:
        if parse_day(text) is None:
            raise SossInputError(f"The observation date {text!r} is not of the form YYYY-MM-DD.")
    return f"INFLIGHT {days[0]} {days[-1]}"


def to_ascii(text: str) -> str:
    """Write a text in the characters of a FITS header.

    Accents are left out and usual signs are spelt out: Rene for René, um for µm.

    Parameters
    ----------
    text : str
        The text; line breaks and tabs become blanks.

    Returns
    -------
    str
        The text in printable ASCII.

    Raises
    ------
    SossInputError
        If a character has no spelling.
    """
    spelt = unicodedata.normalize("NFKD", " ".join(text.split()).translate(_SPELLING))
    spelt = "".join(character for character in spelt if not unicodedata.combining(character))
    # The decomposition makes some of the signs anew, such as the minus of a superscript.
    spelt = spelt.translate(_SPELLING)
    for character in spelt:
        if not " " <= character <= "~":
            raise SossInputError(
                f"{text!r} cannot be written into a FITS header because of {character!r}; use "
                "plain ASCII."
            )
    return spelt


def history_cards(lines: Iterable[str]) -> list[str]:
    """Break lines so that each piece fits into one HISTORY card.

    A word is only broken if it is longer than a card.

    Parameters
    ----------
    lines : iterable of str
        The lines.

    Returns
    -------
    list of str
        Pieces of up to 72 ASCII characters; the further pieces of a line are indented.

    Raises
    ------
    SossInputError
        If a line cannot be written in ASCII.
    """
    return [
        piece
        for line in lines
        for piece in textwrap.wrap(
            to_ascii(line), _HISTORY_WIDTH, subsequent_indent="  ", break_on_hyphens=False
        )
    ]
