"""How to push: checked once, before anything is sent."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

from prometheus_client.exposition import default_handler

from prom_middleware.errors import OptionError
from prom_middleware.logins import basic
from prom_middleware.options import SECONDS_OR_NONE, checked, is_encodable, rules, whole
from prom_middleware.push.groups import Credentials
from prom_middleware.push.payload import CODINGS

Header = tuple[str, str]
# What `prometheus_client` calls a handler: it returns what sends the request, or raises.
Handler = Callable[..., Callable[[], object]]


class PushOptions(TypedDict, total=False):
    """Keyword-only options of every function that pushes, and of `batch_job`.

    retries        attempts after the first one; 0: none
    deadline       seconds for all attempts and the pauses between them; None: no limit
    basic_auth     user and password
    bearer_token   a token, instead of them
    ssl_context    whom to trust and who we are; see `tls_context`
    """

    retries: int
    deadline: float | None
    basic_auth: Credentials | None
    bearer_token: str | None
    ssl_context: ssl.SSLContext | None


class Policy(NamedTuple):
    """The options of one push, checked by `from_options`."""

    # Seconds for one attempt, whatever it waits for; None: no limit.
    timeout: float | None = 30
    # Who sends a request; with prometheus_client's default it is us.
    handler: Handler = default_handler
    compression: str | None = None
    # Some seconds: as long as a gateway needs to be restarted.
    retries: int = 3
    # A job must end, also where a gateway accepts and never answers.
    deadline: float | None = 60
    basic_auth: Credentials | None = None
    bearer_token: str | None = None
    ssl_context: ssl.SSLContext | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Policy:
        """Return the options; raise OptionError, which tells no secrets, for wrong ones."""
        policy = cls(**checked(options, CHECKS))
        if policy.basic_auth and policy.bearer_token:
            raise OptionError("basic_auth and bearer_token exclude each other")
        if policy.ssl_context and policy.handler is not default_handler:
            raise OptionError("ssl_context has no meaning for a handler of your own")
        return policy

    def authorization(self, user: Credentials | None) -> list[Header]:
        """Return the header that says who we are; `user` is from the gateway's URL."""
        if self.bearer_token:
            return [("Authorization", f"Bearer {self.bearer_token}")]
        pair = self.basic_auth or user
        if pair is None:
            return []
        return [("Authorization", basic(pair))]


def _is_compression(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in CODINGS)


def _is_pair(value: object) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(map(is_encodable, value))  # RFC 7617 section 2.1: they are sent as UTF-8
        and ":" not in value[0]  # RFC 7617 section 2
    )


def _is_token(value: object) -> bool:
    # RFC 6750 section 2.1; a line feed from the end of a file would end the header.
    return value is None or (isinstance(value, str) and bool(re.fullmatch(r"[\x21-\x7e]+", value)))


def _is_context(value: object) -> bool:
    return value is None or isinstance(value, ssl.SSLContext)


CHECKS = rules(
    {
        "timeout": SECONDS_OR_NONE,
        "handler": (callable, "a function that returns a function"),
        "compression": (_is_compression, f"one of {', '.join(CODINGS)}, or None"),
        "retries": (whole(0), "a number of attempts, or 0"),
        "deadline": SECONDS_OR_NONE,
        "basic_auth": (_is_pair, "a tuple of a user without a colon and a password, both in UTF-8"),
        "bearer_token": (_is_token, "a token of visible ASCII characters"),
        "ssl_context": (_is_context, "an ssl.SSLContext"),
    },
    secrets=("basic_auth", "bearer_token"),
)
