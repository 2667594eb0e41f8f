"""Errors that are meant to be read by the user."""

__all__ = ["SossInputError"]


class SossInputError(ValueError):
    """The input cannot be used; the message says in one sentence why and what would be right."""
