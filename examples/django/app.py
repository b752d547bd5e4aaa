"""A small shop in Django, with sessions, CSRF protection and accounts in a database.

    pip install '.[django]'
    python examples/django/app.py --port 8000
    curl http://127.0.0.1:8000/items/7/
    curl http://127.0.0.1:8000/metrics

The entry "prom_middleware.django" in INSTALLED_APPS (shop/settings.py) is all there is of us.
This program makes a database in a temporary directory, adds the account joe (password: secret)
and runs the development server.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile

import django
from django.core.management import call_command


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    # The directory is removed on the way out, also when a supervisor ends the program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as directory:
        os.environ["SHOP_DATABASE"] = os.path.join(directory, "shop.sqlite3")
        prepare()
        call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)


def prepare() -> None:
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User

    User.objects.create_user("joe", password="secret")


if __name__ == "__main__":
    main()
