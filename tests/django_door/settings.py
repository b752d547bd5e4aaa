"""The settings of the project that the tests serve; no database is touched."""

from __future__ import annotations

from typing import Any

OURS = "prom_middleware.django.PrometheusMiddleware"
CHAIN = [
    OURS,
    "django.middleware.common.CommonMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django_door.views.sync_only",
]
# What a process has once and for all.
PROCESS: dict[str, Any] = {
    "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
    "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth"],
    "LOGGING_CONFIG": None,
    "USE_TZ": True,
}
# What a test may override.
PROJECT: dict[str, Any] = {
    "ALLOWED_HOSTS": ["*"],
    "LANGUAGES": [("en", "English"), ("de", "Deutsch")],
    "LANGUAGE_CODE": "en",
    "MIDDLEWARE": CHAIN,
    "ROOT_URLCONF": "django_door.urls",
    "SECRET_KEY": "only for tests",
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "USE_I18N": True,
}
