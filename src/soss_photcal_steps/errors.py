"""Errors that are meant to be read by the user."""

__all__ = ["SossInputError"]


class SossInputError(ValueError):
    """The input cannot be used; the message says in one sentence why and what would be right.

    Called from Python, a step raises it as it is.  Under ``strun`` the user reads the message,
    no traceback, and the process ends with a status that is not zero.
    """
