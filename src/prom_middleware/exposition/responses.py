"""What is sent in answer to a scrape."""

from __future__ import annotations

from typing import NamedTuple

PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class ScrapeResponse(NamedTuple):
    """What to send: a status code, headers, and a body that is empty for HEAD."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Answer(NamedTuple):
    """A response whose body is in parts, which nobody has put together."""

    status: int
    headers: list[tuple[str, str]]
    parts: list[bytes]

    @property
    def body(self) -> bytes:
        """Return the parts as one."""
        return b"".join(self.parts)


def last_resort() -> Answer:
    """Return the answer where not even a message can be made; the caller may change its headers."""
    return Answer(500, [PLAIN, ("Content-Length", "0")], [])


def without_body(answer: Answer, method: str) -> Answer:
    """Return an answer as `method` may have it: HEAD has no content (RFC 9110 section 9.3.2).

    Whoever asked would take it for the next answer.
    """
    return answer._replace(parts=[]) if method == "HEAD" else answer


def message(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    """Return an answer in words."""
    return response(status, PLAIN, *headers, parts=[f"{text}\n".encode(errors="replace")])


def response(status: int, *headers: tuple[str, str], parts: list[bytes]) -> Answer:
    """Return an answer with its length."""
    length = ("Content-Length", str(sum(map(len, parts))))
    return Answer(status, [*headers, length], parts)
