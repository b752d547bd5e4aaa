"""The file as it is now: read anew when it, or a certificate that it names, has changed."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from prom_middleware import failures
from prom_middleware.errors import WebConfigError
from prom_middleware.exposition.access import AccessRule
from prom_middleware.exposition.webconfig.limiting import Limiter
from prom_middleware.exposition.webconfig.settings import WebConfig, read_web_config
from prom_middleware.exposition.webconfig.tls import is_welcome, make_context, named_files


class _Version(NamedTuple):
    """What was read, and the bytes that it was read from."""

    config: WebConfig
    context: ssl.SSLContext | None
    content: bytes
    files: Mapping[str, bytes]


class WebConfigFile:
    """A web-config file that may change while it is used.

    Each connection and request looks at the bytes, as those of exporter-toolkit do. A change that
    cannot be used is counted once, as cause `web_config`, and what was there before stays. One that
    takes TLS or all users away is refused in the same way, since a file that is just being written
    looks like that, too: to take them away, restart.

    Raises WebConfigError where the file cannot be used to begin with, MissingFrameworkError without
    the packages of the extra `web-config`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._version = self._read(self._content())
        self._unread = False
        self._failed: tuple[bytes, Mapping[str, bytes]] | None = None
        self.access = self._rule()
        self._limiter = Limiter(self._version.config.rate_limit)

    def context(self) -> ssl.SSLContext | None:
        """Return the context for a new connection, or None where TLS is off."""
        return self._current().context

    def welcomes(self, certificate: Any) -> bool:
        """Tell whether a client with this certificate, as `getpeercert` has it, is allowed."""
        allowed = self._current().config.tls_server_config.client_allowed_sans
        return is_welcome(certificate, allowed)

    def headers(self) -> list[tuple[str, str]]:
        """Return what to add to the headers of every response."""
        headers = self._current().config.http_server_config.headers
        return [(name, value) for name, value in headers.items() if value]

    def allows_one_more(self) -> bool:
        """Tell whether the rate limit, which is that of the start, lets a request pass."""
        return self._limiter.allows()

    def users(self) -> Mapping[str, str]:
        """Return the bcrypt hash of each user's password."""
        return self._current().config.basic_auth_users

    def _rule(self) -> AccessRule:
        from prom_middleware.exposition.webconfig.users import BcryptUsers

        return BcryptUsers(self.users)

    def _current(self) -> _Version:
        with self._lock:
            try:
                self._refresh()
            except Exception as error:
                failures.report("web_config", error)
            return self._version

    def _refresh(self) -> None:
        old, content = self._version, self._content_once()
        if content is None:
            return
        for known in ((old.content, old.files), self._failed):
            if known and known == (content, _contents(known[1])):
                return
        # What is missing may come after the file that names it.
        self._failed = content, _contents({**old.files, **dict.fromkeys(self._named(content))})
        new = self._read(content)
        self._check(old, new)
        self._version, self._failed = new, None

    def _check(self, old: _Version, new: _Version) -> None:
        gone = {
            "tls_server_config": old.context and not new.context,
            "basic_auth_users": old.config.basic_auth_users and not new.config.basic_auth_users,
        }
        for key, is_gone in gone.items():
            if is_gone:
                raise WebConfigError(f"{self.path}: {key} is gone; it stays until a restart")

    def _content_once(self) -> bytes | None:
        """Return the bytes; where they cannot be read, raise the first time, and return None."""
        unread, self._unread = self._unread, True
        try:
            content = self._content()
        except WebConfigError:
            if unread:
                return None
            raise
        self._unread = False
        return content

    def _content(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except OSError as error:
            raise WebConfigError(f"{self.path}: the file cannot be read: {error}") from error

    def _named(self, content: bytes) -> list[str]:
        try:
            return named_files(self.path, read_web_config(self.path, content).tls_server_config)
        except WebConfigError:
            return []

    def _read(self, content: bytes) -> _Version:
        config = read_web_config(self.path, content)
        tls = config.tls_server_config
        # Before they are used: what changes meanwhile is seen as a change by the next look.
        files = _contents(dict.fromkeys(named_files(self.path, tls)))
        context = make_context(self.path, tls) if tls.is_enabled else None
        return _Version(config, context, content, files)


def _contents(paths: Mapping[str, object]) -> dict[str, bytes]:
    return {path: _digest(path) for path in paths}


def _digest(path: str) -> bytes:
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).digest()
    except OSError:
        return b""
