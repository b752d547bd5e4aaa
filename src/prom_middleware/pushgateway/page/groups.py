"""One group on the page."""

from __future__ import annotations

import json
from html import escape
from urllib.parse import quote_plus

from prom_middleware.pushgateway.consistency import PUSH_FAILURE_TIME, PUSH_TIME, STAMPS
from prom_middleware.pushgateway.families import SIMPLE, Distribution, Family, Labels, Metric
from prom_middleware.pushgateway.numbers import go_float, go_sprint
from prom_middleware.pushgateway.page.words import ago, counted, duration, exact, machine
from prom_middleware.pushgateway.store import Group

# Of one family; a page with all of them would help nobody.
MOST_SERIES = 20


def shown_group(group: Group, now: float) -> str:
    """Return the card of a group, at a time in seconds."""
    failed = "" if group.succeeded else " failed"
    return f"""<article class="card group{failed}">
<div class="head"><h2>{shown_labels(group.key)}</h2>{_delete_link(group)}</div>
{_success(group, now)}{_failure(group, now)}{_expiry(group, now)}{_families(group)}
</article>"""


def shown_labels(key: Labels) -> str:
    """Return a grouping key, job first."""
    pairs = sorted(key, key=lambda pair: pair[0] != "job")
    return " ".join(
        f'<span class="label">{escape(name)}=<b>&quot;{escape(value)}&quot;</b></span>'
        for name, value in pairs
    )


def key_text(key: Labels) -> str:
    """Return a grouping key in a line."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in key) + "}"


def number_of_series(group: Group) -> int:
    """Return how many series were pushed."""
    return sum(len(part.family.metrics) for name, part in group.parts.items() if name not in STAMPS)


def _delete_link(group: Group) -> str:
    key = json.dumps(group.key)
    what = f"{key_text(group.key)}, {counted(number_of_series(group), 'series')}"
    return (
        f'<a class="button danger delete" href="?confirm={quote_plus(key)}" '
        f'data-group="{escape(key)}" data-what="{escape(what)}">Delete</a>'
    )


def _time(seconds: float, now: float) -> str:
    try:
        return (
            f'<time datetime="{machine(seconds)}">{ago(seconds, now)}</time> '
            f'<span class="exact">({exact(seconds)})</span>'
        )
    except (ValueError, OverflowError, OSError):  # a push can bring any number
        return f'<span class="exact">({go_float(seconds)})</span>'


def _success(group: Group, now: float) -> str:
    pushed = group.stamp(PUSH_TIME)
    if not pushed:
        return '<p class="when">No push has succeeded yet.</p>'
    said = "Last push" if group.succeeded else "Last successful push"
    return f'<p class="when">{said} {_time(pushed, now)}</p>'


def _failure(group: Group, now: float) -> str:
    failed = group.stamp(PUSH_FAILURE_TIME)
    if not failed:
        return ""
    if group.succeeded:
        return f'<p class="when">Last failure {_time(failed, now)}</p>'
    why = f"<code>{escape(group.failure)}</code>" if group.failure else ""
    return f'<p class="failure"><strong>Last push failed</strong> {_time(failed, now)}{why}</p>'


def _expiry(group: Group, now: float) -> str:
    if group.ttl_ns is None:
        return ""
    rest = duration(max(group.expires_ns / 1e9 - now, 0))
    return f'<p class="when">Goes in {rest} unless it is pushed</p>'


def _families(group: Group) -> str:
    families = [part.family for name, part in sorted(group.parts.items()) if name not in STAMPS]
    if not families:
        return '<p class="when">No metrics.</p>'
    said = f"{counted(len(families), 'metric')}, {counted(number_of_series(group), 'series')}"
    return f"<details><summary>{said}</summary>{''.join(map(_family, families))}</details>"


def _family(family: Family) -> str:
    documentation = f'<p class="muted">{escape(family.help)}</p>' if family.help else ""
    rows = "".join(_series(family, metric) for metric in family.metrics[:MOST_SERIES])
    more = len(family.metrics) - MOST_SERIES
    rest = f'<p class="muted">and {more:,} more</p>' if more > 0 else ""
    return f"""<div class="family"><p><code class="name">{escape(family.name)}</code>\
<span class="type">{family.type.lower()}</span></p>{documentation}\
<ul class="series">{rows}</ul>{rest}</div>"""


def _series(family: Family, metric: Metric) -> str:
    value = go_float(metric.value) if family.type in SIMPLE else _summed(metric.value)
    return f"<li><span>{escape(key_text(metric.labels))}</span><b>{value}</b></li>"


def _summed(value: Distribution) -> str:
    return f"count {go_sprint(value.count)}, sum {go_float(value.sum)}"
