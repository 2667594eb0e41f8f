"""Errors that are meant to be read by the user."""

__all__ = ["SossInputError", "reason"]

# A reason is cut after so many characters: asdf and jsonschema write pages.
_LONGEST = 250


class SossInputError(ValueError):
    """The input cannot be used; the message says in one sentence why and what would be right.

    Called from Python, a step raises it as it is.  Under ``strun`` the user reads the message,
    no traceback, and the process ends with a status that is not zero.
    """


def reason(error: BaseException) -> str:
    """Give what another package says of a failure as part of one sentence.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    str
        One line without a full stop, cut where it is long; the kind of error if it says nothing.
    """
    first, _, _ = str(error).strip().partition("\n\n")
    text = " ".join("".join(c if c.isprintable() else " " for c in first).split())
    text = text.rstrip(".") or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} ..."
