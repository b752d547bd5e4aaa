"""Basic auth against bcrypt hashes, which take some 100 ms each, by design.

Who has logged in once is known again by a keyed digest, and never waits for anybody. What remains
for bcrypt is compared one at a time, and is refused at once where too many wait: passwords can be
guessed no faster than one core allows, and guesses keep no thread busy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Mapping

from prom_middleware.errors import MissingFrameworkError
from prom_middleware.exposition.access import ScrapeRequest, basic_auth, basic_credentials

try:
    import bcrypt
except ImportError as missing:
    raise MissingFrameworkError(
        'basic_auth_users needs bcrypt: pip install "prom_middleware[web-config]"'
    ) from missing

# bcrypt looks at no more of a password; newer versions of the package raise for a longer one.
LONGEST = 72
MOST_WAITING = 8
MOST_REFUSED = 100  # as many as exporter-toolkit remembers

Key = tuple[str, str, bytes]


class BcryptUsers:
    """Allow the users that `users()` has at the moment: a mapping of names to bcrypt hashes.

    Where it has none, everybody is allowed.
    """

    challenge = basic_auth.challenge

    def __init__(self, users: Callable[[], Mapping[str, str]]) -> None:
        self._users = users
        self._secret = os.urandom(32)
        self._accepted: dict[str, Key] = {}
        self._refused: dict[Key, None] = {}
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING)

    def __call__(self, request: ScrapeRequest) -> bool:
        """Tell whether `request` may pass."""
        users = self._users()
        if not users:
            return True
        user, colon, password = basic_credentials(request).partition(b":")
        return bool(colon) and self._check(users, user.decode(errors="replace"), password)

    def _check(self, users: Mapping[str, str], user: str, password: bytes) -> bool:
        # Somebody unknown takes as long as anybody: the time must not tell who is known.
        hashed = users.get(user) or max(users.values(), key=_cost)
        digest = hmac.digest(self._secret, password, hashlib.sha256)
        key = (user, hashed, digest)
        known = self._accepted.get(user)
        if known and known[1] == hashed and hmac.compare_digest(known[2], digest):
            return user in users
        if key in self._refused or not self._places.acquire(blocking=False):
            return False
        try:
            return self._compare(key, password, user in users)
        finally:
            self._places.release()

    def _compare(self, key: Key, password: bytes, known: bool) -> bool:
        user, hashed, _ = key
        with self._turn:
            if self._accepted.get(user) == key:  # the one before us has asked the same
                return known
            if _matches(password, hashed) and known:
                self._accepted[user] = key
                return True
            self._refused[key] = None
            if len(self._refused) > MOST_REFUSED:
                del self._refused[next(iter(self._refused))]
        return False


def _matches(password: bytes, hashed: str) -> bool:
    try:
        return bcrypt.checkpw(password[:LONGEST], hashed.encode())
    except ValueError:
        return False


def _cost(hashed: str) -> str:
    return hashed[4:6]
