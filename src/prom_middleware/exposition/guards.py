"""Who may scrape, and how: what is refused before anything is collected."""

from __future__ import annotations

from prom_middleware import failures
from prom_middleware.exposition.access import AccessRule, ScrapeRequest
from prom_middleware.exposition.responses import Answer, message
from prom_middleware.options import access_rule, plain_answer

METHODS = ("GET", "HEAD")


def refusal(request: ScrapeRequest, access: AccessRule | None) -> Answer | None:
    """Return what a request is told that may not have the metrics."""
    if request.method not in METHODS:
        return message(405, "Use GET or HEAD.", ("Allow", ", ".join(METHODS)))
    return unauthorized(request, access)


def unauthorized(request: ScrapeRequest, access: AccessRule | None) -> Answer | None:
    """Return what a request is told that `access` does not allow, whatever its method is."""
    if access is None or _allowed(request, access):
        return None
    challenge = getattr(access, "challenge", None)
    # A header of a rule that is not ours: nothing that could end the line.
    if isinstance(challenge, str) and challenge.isascii() and challenge.isprintable():
        return message(401, "Log in to see the metrics.", ("WWW-Authenticate", challenge))
    return message(403, "You may not see the metrics.")


def _allowed(request: ScrapeRequest, access: AccessRule) -> bool:
    try:
        access_rule(access)  # what `scrape` is given, nobody has looked at
        return bool(plain_answer("access", access(request)))
    except failures.ENDING:
        raise
    except BaseException as error:
        failures.report("access", error)
        return False
