"""The page: what is stored, for people.

It is made here and works without JavaScript, which only asks in a dialog what the page would ask
otherwise. Nothing is loaded from another host, or at all: style and script are in the page.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import urlencode

from prom_middleware._version import __version__
from prom_middleware.pushgateway.page.groups import (
    key_text,
    number_of_series,
    shown_group,
    shown_labels,
)
from prom_middleware.pushgateway.page.words import counted
from prom_middleware.pushgateway.store import Group

# Groups on one page.
PAGE = 100

_STYLE = (files(__package__) / "style.css").read_text("utf-8")
_SCRIPT = (files(__package__) / "confirm.js").read_text("utf-8")


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


# Nothing but what is in the page (https://www.w3.org/TR/CSP3/).
POLICY = (
    f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class View(NamedTuple):
    """What is to be seen: groups that have `wanted` in them, or that failed, from a page on."""

    wanted: str = ""
    failed: bool = False
    page: int = 0

    def shows(self, group: Group) -> bool:
        """Tell whether a group is among them."""
        if self.failed and group.succeeded:
            return False
        text = f"{key_text(group.key)} {' '.join(group.parts)}".lower()
        return all(word in text for word in self.wanted.lower().split())

    def query(self, **changed: object) -> str:
        """Return the query of another view."""
        view = self._replace(**changed)  # type: ignore[arg-type]
        given = {"q": view.wanted, "failed": int(view.failed), "page": view.page}
        return "?" + urlencode({name: value for name, value in given.items() if value})


class Place(NamedTuple):
    """Where the gateway is, for links and for the line to copy."""

    base_url: str
    telemetry_path: str
    flags: Mapping[str, str]


def overview(groups: list[Group], view: View, place: Place, now: float) -> bytes:
    """Return the page with all groups that the view shows, at a time in seconds."""
    found = sorted(filter(view.shows, groups), key=lambda group: group.key)
    if not groups:
        content = _nothing(place)
    elif not found:
        content = f'<section class="card empty"><h2>No group matches</h2>{_all(groups)}</section>'
    else:
        part = found[view.page * PAGE : (view.page + 1) * PAGE]
        cards = "\n".join(shown_group(group, now) for group in part)
        content = cards + _pages(len(found), view) + _DIALOG
    return _page(f"{_bar(groups, view)}{content}{_about(place.flags)}", place, script=bool(found))


def confirmation(group: Group, given: str, place: Place) -> bytes:
    """Return the page that asks whether to delete a group; `given` is its key, as it came."""
    return _page(
        f"""<section class="confirm card"><h2>Delete this group?</h2>
<p>{shown_labels(group.key)}</p>
<p>{counted(number_of_series(group), "series")} will be gone. This cannot be undone.</p>
<form method="post" action="-/delete-group" class="actions">
<input type="hidden" name="group" value="{escape(given)}">
<a class="button" href="?">Cancel</a> <button class="danger">Delete</button></form></section>""",
        place,
        script=False,
    )


def _bar(groups: list[Group], view: View) -> str:
    if not groups:
        return ""
    failed = sum(not group.succeeded for group in groups)
    series = sum(map(number_of_series, groups))
    said = f"{counted(len(groups), 'group')}, {counted(series, 'series')}"
    if failed:
        query = escape(view.query(failed=True, page=0))
        said += f', <a href="{query}">{counted(failed, "failed push")}</a>'
    only_failed = '<input type="hidden" name="failed" value="1">' if view.failed else ""
    return f"""<div class="bar"><p>{said}</p>
<form method="get" role="search">{only_failed}<input type="search" name="q" \
value="{escape(view.wanted)}" placeholder="Label or metric name" \
aria-label="Filter groups by label or metric name"><button>Filter</button></form></div>"""


def _all(groups: list[Group]) -> str:
    return f'<p><a href="?">Show all: {counted(len(groups), "group")}</a></p>'


def _nothing(place: Place) -> str:
    url = escape(f"{place.base_url}/metrics/job/some_job")
    return f"""<section class="card empty"><h2>0 groups, nothing has been pushed yet</h2>
<p class="muted">Push the first metric from a shell:</p>
<pre>echo "some_metric 3.14" | curl --data-binary @- {url}</pre></section>"""


def _pages(number: int, view: View) -> str:
    last = (number - 1) // PAGE
    links = []
    if view.page > 0:
        links.append(f'<a href="{escape(view.query(page=view.page - 1))}">Previous</a>')
    if last:
        links.append(f"<span>Page {view.page + 1} of {last + 1}</span>")
    if view.page < last:
        links.append(f'<a href="{escape(view.query(page=view.page + 1))}">Next</a>')
    return f'<p class="pages">{" ".join(links)}</p>' if links else ""


def _about(flags: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v) or '–'}</dd>" for k, v in flags.items())
    return (
        '<details class="card"><summary>Version and flags</summary>'
        f"<dl><dt>prom_middleware</dt><dd>{__version__}</dd>{rows}</dl></details>"
    )


_DIALOG = """<dialog id="confirm" aria-labelledby="question">
<h2 id="question">Delete this group?</h2><p><code class="what"></code></p>
<p>This cannot be undone.</p>
<form method="post" action="-/delete-group" class="actions">
<input type="hidden" name="group"><button type="button" class="cancel">Cancel</button>
<button class="danger">Delete</button></form></dialog>"""


def _page(content: str, place: Place, *, script: bool) -> bytes:
    telemetry = escape(place.telemetry_path.lstrip("/"))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Pushgateway</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex,nofollow"><link rel="icon" href="data:,">
<style>{_STYLE}</style></head><body>
<header class="top"><div><h1><a href="?">Pushgateway</a></h1>
<span class="muted">metrics of batch jobs</span>
<nav><a href="{telemetry}">Metrics</a> <a href="api/v1/metrics">JSON</a></nav></div></header>
<main>{content}</main>{f"<script>{_SCRIPT}</script>" if script else ""}
</body></html>
""".encode(errors="replace")
