"""What is wrong with a pushed body: a status, and a text that begins as the original's."""

from __future__ import annotations


class BodyError(Exception):
    """A body that cannot be taken; its text goes to whoever has pushed it."""

    status = 400


class TooLargeError(BodyError):
    """A body has more bytes than the limit, as it came or unpacked."""

    status = 413


class UnknownCodingError(BodyError):
    """A content coding that cannot be undone here."""

    status = 415


class WrongLineError(Exception):
    """What is wrong with a line of text, without the line's number."""
