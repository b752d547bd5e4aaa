"""Push metrics, or how a command went, to a Pushgateway."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from prom_middleware.commands import CommandError, arguments, streams
from prom_middleware.errors import OptionError
from prom_middleware.push.deliveries import Delivery
from prom_middleware.push.payload import rendered
from prom_middleware.push.runs import Run
from prom_middleware.push.tls import tls_context

ENVIRONMENT = "PROM_MIDDLEWARE_PUSH_"
PASSWORD, TOKEN = f"{ENVIRONMENT}PASSWORD", f"{ENVIRONMENT}BEARER_TOKEN"
EPILOG = f"""\
examples:
  job-metrics | prom-middleware push --gateway localhost:9091 --job nightly
  prom-middleware push --gateway localhost:9091 --job backup --run -- pg_dump shop -f shop.sql
  prom-middleware push --gateway localhost:9091 --job backup --method delete

--run gives its signals to the command, has its exit code, and pushes batch_job_duration_seconds,
batch_job_exit_code, batch_job_last_completion_timestamp_seconds, and when it last succeeded or
failed; a push that fails changes nothing of that. Without it, exit code 1: nothing was pushed; 2:
wrong arguments.

{ENVIRONMENT}GATEWAY and {ENVIRONMENT}USERNAME stand for the options, {PASSWORD}
and {TOKEN} for what the files have. A command does not see the last two.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    _add_group(parser)
    _add_sending(parser)
    _add_credentials(parser)
    parser.add_argument(
        "--run", action="store_true", help="run a command and push how it went, not the input"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --run: -- COMMAND ...")


def _add_group(parser: argparse.ArgumentParser) -> None:
    gateway = os.environ.get(f"{ENVIRONMENT}GATEWAY")
    parser.add_argument(
        "--gateway",
        default=gateway,
        required=not gateway,
        metavar="URL",
        help=f"host:port or URL; or ${ENVIRONMENT}GATEWAY",
    )
    parser.add_argument(
        "--job",
        type=arguments.name,
        required=True,
        metavar="NAME",
        help="the group's job label",
    )
    parser.add_argument(
        "--grouping",
        action="append",
        default=[],
        type=_label,
        metavar="NAME=VALUE",
        help="a further label of the group; may be there several times",
    )
    parser.add_argument(
        "--method",
        choices=("post", "put", "delete"),
        help="post: replace metrics of the same names (the default); put: all of the group; "
        "delete: the group",
    )


def _add_sending(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--retries", type=int, default=3, metavar="N", help="further attempts (default: 3)"
    )
    for flag, seconds, text in (
        ("--timeout", 30.0, "for an attempt (default: 30)"),
        ("--deadline", 60.0, "for all of them (default: 60)"),
    ):
        parser.add_argument(
            flag, type=float, default=seconds, metavar="SECONDS", help=f"seconds {text}"
        )
    parser.add_argument("--compression", choices=("gzip", "snappy"), help="of what is sent")


def _add_credentials(parser: argparse.ArgumentParser) -> None:
    username = os.environ.get(f"{ENVIRONMENT}USERNAME")
    parser.add_argument("--username", default=username, metavar="NAME", help="for basic auth")
    for flag, text in (
        ("--password-file", "its password"),
        ("--bearer-token-file", "a token, instead"),
        ("--ca-file", "authorities to trust, instead of the system's"),
        ("--cert-file", "our certificate, for the gateway to ask for"),
        ("--key-file", "its key"),
    ):
        parser.add_argument(flag, metavar="FILE", help=text)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def run(options: argparse.Namespace) -> int:
    """Push what is to be pushed; return the exit code."""
    try:
        delivery = _delivery(options)
        if options.run:
            return _run_command(options.command, delivery)
        content = b"" if options.method == "delete" else _standard_input()
        return 0 if delivery.send(lambda: content) else 1  # the log says why
    except KeyboardInterrupt as interrupt:
        raise CommandError("interrupted: it may not have been pushed") from interrupt


def _delivery(options: argparse.Namespace) -> Delivery:
    """Return where and how to push; what is wrong with that is said before a command runs."""
    if options.command[:1] == ["--"]:
        del options.command[0]
    if options.run and (not options.command or options.method):
        options.refuse("--run takes a command, and no --method")
    if options.command and not options.run:
        options.refuse(f"unrecognized arguments: {' '.join(options.command)}")
    grouping = dict(options.grouping)
    if len(grouping) < len(options.grouping):
        options.refuse("--grouping: a label is there twice")
    method = (options.method or "post").upper()
    try:
        return Delivery(method, options.gateway, options.job, grouping, _policy(options))
    except (OptionError, OSError) as error:
        options.refuse(str(error))
        raise


def _policy(options: argparse.Namespace) -> Mapping[str, Any]:
    password = _secret(options.password_file, PASSWORD)
    if (options.username is None) != (password is None):
        raise OptionError("a username needs a password, and a password a username")
    files = (options.ca_file, options.cert_file, options.key_file)
    return {
        "retries": options.retries,
        "timeout": options.timeout,
        "deadline": options.deadline,
        "compression": options.compression,
        "basic_auth": None if password is None else (options.username, password),
        "bearer_token": _secret(options.bearer_token_file, TOKEN),
        "ssl_context": tls_context(*files) if any(files) else None,
    }


def _secret(path: str | None, variable: str) -> str | None:
    if path is None:
        return os.environ.get(variable)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip("\n")
    except UnicodeError:  # not shown, nor chained: it has the secret
        raise OptionError(f"{path}: what is in it is not UTF-8") from None


def _standard_input() -> bytes:
    """Return what is to be read; the gateway checks it, and keeps what it has if it is wrong."""
    content = streams.read()
    if not content.strip():
        # A job that failed before it wrote anything must not empty its group.
        raise CommandError("standard input: no metrics in it")
    return streams.ended(content)


def _run_command(command: list[str], delivery: Delivery) -> int:
    from prom_middleware.commands.children import Child

    hidden = {name: value for name, value in os.environ.items() if name not in (PASSWORD, TOKEN)}
    run = Run()
    with Child(command, hidden) as child:
        code = child.wait()
        run.exited(code)
        try:
            delivery.send(partial(rendered, run))
        except KeyboardInterrupt:
            streams.tell("prom-middleware push: interrupted while pushing")
    return code
