"""Tell what is wrong with a /metrics: promtool's rules, and what promtool misses."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from prom_middleware.check import Report, check
from prom_middleware.check.cardinality import table
from prom_middleware.check.checking import MAX_SERIES
from prom_middleware.check.formats import announced
from prom_middleware.check.reporting import FORMATS
from prom_middleware.commands import CommandError, arguments, sources, streams, told
from prom_middleware.commands.scraping import Page, Request, ScrapeError, scrape_app
from prom_middleware.logins import shown
from prom_middleware.options import collects

EPILOG = """\
examples:
  curl -s localhost:8000/metrics | prom-middleware check
  prom-middleware check http://localhost:8000/metrics
  prom-middleware check shop.prom --format=github
  prom-middleware check shop.app:app --extended

Exit codes are promtool's: 0, 3 for remarks, 1 for what cannot be read.
"""
LINT = ("all", "promtool", "none")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes; names as promtool has them."""
    parser.add_argument(
        "source",
        nargs="?",
        default="-",
        help="- for the standard input (the default), a URL, a file, or module:app, where the part "
        "after the colon is an application of ASGI, WSGI or Twisted, or a registry",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the remarks")
    parser.add_argument(
        "--lint", choices=LINT, default="all", help="the rules: all, or those of promtool only"
    )
    parser.add_argument("--extended", action="store_true", help="also count the series")
    parser.add_argument(
        "--max-series",
        type=arguments.count,
        default=MAX_SERIES,
        metavar="N",
        help=f"label sets that one metric may have (default: {MAX_SERIES})",
    )
    parser.add_argument(
        "--utf8-names", action="store_true", help="allow names in quotes, which promtool refuses"
    )
    parser.add_argument(
        "--path",
        default="/metrics",
        help="the path, and a query, that an application is asked for (default: /metrics)",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        default=10.0,
        help="seconds to wait for an answer (default: 10)",
    )


def run(options: argparse.Namespace) -> int:
    """Check one page."""
    report = check(
        content_of(options),
        more=options.lint == "all",
        max_series=options.max_series,
        utf8_names=options.utf8_names,
    )
    if options.lint == "none":
        report = report._replace(problems=[], hint=report.hint if report.error else "")
    with suppress(BrokenPipeError):  # who reads has seen enough; the exit code tells the rest
        _show(report, options)
    return report.exit_code


def _show(report: Report, options: argparse.Namespace) -> None:
    text = FORMATS[options.format](report, shown(options.source))
    # People's remarks go where promtool writes them; programs read the standard output.
    output = sys.stderr if options.format == "text" else sys.stdout
    if output is not None:  # else `print` would take the standard output
        print(text, end="", file=output, flush=True)
    if options.extended and options.format == "text" and not report.error:
        print(table(report.cardinality), end="", flush=True)


def content_of(options: argparse.Namespace) -> bytes:
    """Return the page that is to be checked. Raises CommandError for what cannot be had."""
    source = options.source
    if source == "-":
        return streams.read()
    if sources.is_url(source):
        return _text(shown(source), *sources.fetched(source, options.timeout))
    path = Path(source)
    if path.exists() and not path.is_dir():  # a pipe as well: a shell's <(...) is one
        return _read(source)
    if ":" not in source:
        raise CommandError(f"{source}: there is no such file; applications are module:app")
    found = sources.load(source)
    if collects(found):
        return b"".join(sources.rendered(source, found))
    return _scraped(source, found, options)


def _read(source: str) -> bytes:
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"{source}: {error.strerror}") from error


def _text(source: str, body: bytes, content_type: str) -> bytes:
    """Return a page that announces itself as text, or as nothing that we know better."""
    form = announced(content_type)
    if form is not None:
        raise CommandError(
            f"{source}: the answer is {form.name} ({content_type}), though {sources.ACCEPT} was "
            "asked for, which is what the rules are for"
        )
    return body


# What a status may mean, of an application that nobody else has asked.
STATUSES = {
    401: "who may scrape has to say who they are: serve it, and check its page with `curl -u`",
    403: "access= does not let 127.0.0.1 scrape",
    404: "is it instrumented?",
}


def _scraped(source: str, app: object, options: argparse.Namespace) -> bytes:
    page = _page(source, app, options)
    if page.trouble:
        streams.tell(f"{source}: {page.trouble}")
    if page.status != 200:
        why = STATUSES.get(page.status, "")
        problem = f"{source}: {options.path} is answered with {page.status}"
        raise CommandError(f"{problem}; {why}" if why else problem)
    return _text(source, page.body, page.content_type)


def _page(source: str, app: object, options: argparse.Namespace) -> Page:
    with told(source):
        try:
            return scrape_app(app, Request(options.path, sources.ACCEPT, options.timeout))
        except ScrapeError as error:
            raise CommandError(f"{source}: {error}") from error
