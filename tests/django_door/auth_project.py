"""A project with users in a database; run as a program, it serves what it is told to.

Standard input is JSON: {"settings": {...}, "cookies": {...}, "server": "wsgi" or "asgi",
"requests": [...]}, where a request is [method, path, user or "", headers]. Standard output is a
list of what came of each. Without cookies it makes the database and prints its users' cookies.
"""

from __future__ import annotations

import json
import sys
from typing import Any

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"
SETTINGS: dict[str, Any] = {
    "ALLOWED_HOSTS": ["testserver"],
    "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
    "INSTALLED_APPS": [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "prom_middleware.django",
    ],
    "LOGGING_CONFIG": None,
    "LOGIN_URL": "/log-in/",
    "MIDDLEWARE": MIDDLEWARE,
    "ROOT_URLCONF": "django_door.auth_urls",
    "SECRET_KEY": "only for tests",
    "USE_TZ": True,
}


def main() -> None:
    told = json.load(sys.stdin)
    from django.conf import settings

    settings.configure(**{**SETTINGS, **told["settings"]})
    import django

    django.setup()
    if "cookies" in told:
        print(json.dumps(list(serve(told["server"], told["requests"], told["cookies"]))))
    else:
        print(json.dumps(log_everybody_in()))


def log_everybody_in() -> dict[str, str]:
    """Make the database and its users, and return a session's cookie for each."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    cookies = {"": "", "broken": f"{settings.SESSION_COOKIE_NAME}=broken"}
    for name in ("joe", "root"):
        client: Any = Client()
        client.force_login(User.objects.create_user(name, is_superuser=name == "root"))
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        cookies[name] = f"{settings.SESSION_COOKIE_NAME}={session}"
    return cookies


def serve(server: str, requests: list[Any], cookies: dict[str, str]) -> Any:
    from django.contrib.sessions.models import Session
    from prometheus_client import REGISTRY

    from django_door.project import HANDLERS, _asgi, _wsgi
    from metrics import in_progress, records

    handler = HANDLERS[server]()
    after = records(REGISTRY)
    for method, path, user, headers in requests:
        before = after
        cookie = "; ".join(filter(None, (cookies[user], headers.pop("cookie", ""))))
        sent = {"host": "testserver", **headers, **({"cookie": cookie} if cookie else {})}
        drive = _wsgi if server == "wsgi" else _asgi
        answer = drive(handler, method, path, b"" if method == "POST" else None, sent)
        after = records(REGISTRY)
        new = list(after)
        for record in before:
            new.remove(record)
        yield {
            "status": answer.status,
            "headers": answer.headers,
            "body": answer.body.decode(),
            "records": new,
            "in_progress": in_progress(REGISTRY),
            "sessions": Session.objects.count(),
        }


if __name__ == "__main__":
    main()
