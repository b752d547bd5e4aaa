"""Who may scrape, and how: what is refused before anything is collected."""

from __future__ import annotations

from prom_middleware import failures
from prom_middleware.exposition.access import AccessRule, Both, ScrapeRequest
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
    refusing = _refusing(request, access)
    if refusing is None:
        return None
    challenge = getattr(refusing, "challenge", None)
    # A header of a rule that is not ours: nothing that could end the line.
    if isinstance(challenge, str) and challenge.isascii() and challenge.isprintable():
        return message(401, "Log in to see the metrics.", ("WWW-Authenticate", challenge))
    return message(403, "You may not see the metrics.")


def _refusing(request: ScrapeRequest, access: AccessRule | None) -> AccessRule | None:
    if access is None:
        return None
    rules = access.rules if isinstance(access, Both) else (access,)
    return next((rule for rule in rules if not _allowed(request, rule)), None)


def _allowed(request: ScrapeRequest, access: AccessRule) -> bool:
    try:
        access_rule(access)  # what `scrape` is given, nobody has looked at
        return bool(plain_answer("access", access(request)))
    except failures.ENDING:
        raise
    except BaseException as error:
        failures.report("access", error)
        return False
