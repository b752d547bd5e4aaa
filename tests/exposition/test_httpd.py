"""`start_http_server`: a port of its own, with TLS, access rules and IPv6."""

from __future__ import annotations

import base64
import http.client
import inspect
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter

from metrics import series, value
from prom_middleware.errors import OptionError
from prom_middleware.exposition import basic_auth, start_http_server


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("mine", "Mine.", registry=registry).inc()
    return registry


@contextmanager
def serving(**arguments: Any) -> Iterator[Any]:
    server, thread = start_http_server(0, arguments.pop("addr", "127.0.0.1"), **arguments)
    try:
        assert isinstance(thread, Thread)
        assert thread.daemon
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert not thread.is_alive()


def fetch(
    connection: http.client.HTTPConnection, method: str = "GET", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    try:
        connection.request(method, "/metrics", headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())
    finally:
        connection.close()


def plain(server: Any, host: str = "127.0.0.1") -> http.client.HTTPConnection:
    return http.client.HTTPConnection(host, server.server_port, timeout=10)


def test_metrics_are_served(registry: CollectorRegistry) -> None:
    with serving(registry=registry) as server:
        status, body, headers = fetch(plain(server))
    assert status == 200
    assert value(series(body.decode()), "mine_total") == 1
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_head_and_other_methods(registry: CollectorRegistry) -> None:
    with serving(registry=registry) as server:
        status, body, headers = fetch(plain(server), "HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 0
        assert fetch(plain(server), "POST")[0] == 405


def test_access(registry: CollectorRegistry) -> None:
    with serving(registry=registry, access=basic_auth("u", "p")) as server:
        status, _, headers = fetch(plain(server))
        assert (status, headers["WWW-Authenticate"][:5]) == (401, "Basic")
        login = f"Basic {base64.b64encode(b'u:p').decode()}"
        assert fetch(plain(server), Authorization=login)[0] == 200


def test_an_option_that_is_none(registry: CollectorRegistry) -> None:
    before = threading.active_count()
    with pytest.raises((TypeError, ValueError), match="nothing"):
        start_http_server(0, "127.0.0.1", registry, nothing=True)
    assert threading.active_count() == before


def test_ipv6(registry: CollectorRegistry) -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with serving(registry=registry, addr="::1") as server:
        assert fetch(plain(server, "::1"))[0] == 200


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_slow_peer_stops_nobody(registry: CollectorRegistry) -> None:
    with serving(registry=registry) as server:
        slow = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
        with slow:
            slow.sendall(b"GET /metrics HT")
            assert fetch(plain(server))[0] == 200


def test_a_port_in_use_is_an_os_error(registry: CollectorRegistry) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        with pytest.raises(OSError):  # noqa: PT011 - the message is the system's
            start_http_server(one.getsockname()[1], "127.0.0.1", registry=registry)


def test_the_arguments_are_those_of_prometheus_client() -> None:
    ours = list(inspect.signature(start_http_server).parameters)
    theirs = list(inspect.signature(prometheus_client.start_http_server).parameters)
    assert [name for name in ours if name in theirs] == theirs, "a newer one may have more"
    assert ours[-3:] == ["web_config_file", "access", "options"]


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate for localhost, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-addext", names, "-keyout", str(keyfile), "-out", str(certfile)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, timeout=60)
    return certfile, keyfile


def encrypted(server: Any, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", server.server_port, timeout=10, context=context)


def trusting(certfile: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certfile))


def test_tls(registry: CollectorRegistry, certificate: tuple[Path, Path]) -> None:
    certfile, keyfile = certificate
    with serving(registry=registry, certfile=str(certfile), keyfile=str(keyfile)) as server:
        status, body, _ = fetch(encrypted(server, trusting(certfile)))
        assert status == 200
        assert b"mine_total 1.0" in body


def test_tls_with_client_certificates(
    registry: CollectorRegistry, certificate: tuple[Path, Path]
) -> None:
    certfile, keyfile = map(str, certificate)
    files = {"certfile": certfile, "keyfile": keyfile, "client_cafile": certfile}
    known = trusting(certificate[0])
    known.load_cert_chain(certfile, keyfile)
    with serving(registry=registry, client_auth_required=True, **files) as server:
        assert fetch(encrypted(server, known))[0] == 200
        # With TLS 1.3 the client learns of the refusal when it reads.
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            fetch(encrypted(server, trusting(certificate[0])))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_peer_that_does_not_shake_hands_stops_nobody(
    registry: CollectorRegistry, certificate: tuple[Path, Path]
) -> None:
    certfile, keyfile = certificate
    with serving(registry=registry, certfile=str(certfile), keyfile=str(keyfile)) as server:
        silent = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
        with silent:
            assert fetch(encrypted(server, trusting(certfile)))[0] == 200
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as rude:
            rude.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            rude.recv(100)
        assert fetch(encrypted(server, trusting(certfile)))[0] == 200


WITHOUT = [
    {"client_cafile": "/nowhere/ca.pem"},
    {"client_capath": "/nowhere"},
    {"protocol": ssl.PROTOCOL_TLS},
    {"client_auth_required": True},
    {"tls_min_version": ssl.TLSVersion.TLSv1_3},
    {"tls_max_version": ssl.TLSVersion.TLSv1_2},
]
FILES = {"certfile": "/nowhere/cert.pem", "keyfile": "/nowhere/key.pem"}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"port": port} for port in (None, "8000", -1, 70000, 80.0, True)),
        {"addr": 0},
        {"addr": None},
        {"addr": "a..b"},
        *({name: 5} for name in ("certfile", "keyfile", "client_cafile", "client_capath")),
        {"client_auth_required": "no"},
        *({"protocol": protocol} for protocol in (99, "TLS", [], ssl.PROTOCOL_TLS_CLIENT)),
        {"tls_min_version": "1.3"},
        {"tls_max_version": 99},
        {"web_config_file": 5},
    ],
    ids=str,
)
def test_what_cannot_be_served_at_is_refused(
    registry: CollectorRegistry, wrong: dict[str, Any]
) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(OptionError, match=re.escape(f"{name}={value!r}: give ")):
        start_http_server(**{"port": 0, "addr": "127.0.0.1", "registry": registry, **wrong})


@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, 771])
def test_versions_of_tls_that_exclude_each_other_are_refused(
    registry: CollectorRegistry, certificate: tuple[Path, Path], most: Any
) -> None:
    limits = {"tls_min_version": ssl.TLSVersion.TLSv1_3, "tls_max_version": most}
    files = dict(zip(("certfile", "keyfile"), map(str, certificate), strict=True))
    with pytest.raises(OptionError, match="tls_max_version="):
        start_http_server(0, "127.0.0.1", registry, **files, **limits)


@pytest.mark.parametrize("wrong", WITHOUT, ids=str)
def test_tls_that_there_would_not_be_is_refused(
    registry: CollectorRegistry, wrong: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(wrong))}=.*TLS needs"):
        start_http_server(0, "127.0.0.1", registry, **wrong)


@pytest.mark.parametrize("wrong", [*WITHOUT, FILES], ids=str)
def test_tls_is_said_in_one_place(
    registry: CollectorRegistry, wrong: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users: {}\n")
    with pytest.raises(OptionError, match=f"{next(iter(wrong))}=.*web_config_file"):
        start_http_server(0, "127.0.0.1", registry, web_config_file=file, **wrong)


def test_the_defaults_of_prometheus_client_may_be_given(registry: CollectorRegistry) -> None:
    parameters = inspect.signature(prometheus_client.start_http_server).parameters
    defaults = {name: parameters[name].default for name in list(parameters)[3:]}
    with serving(registry=registry, **defaults) as server:
        assert fetch(plain(server))[0] == 200
    with serving(registry=registry, certfile="", keyfile="", client_cafile="") as server:
        assert fetch(plain(server))[0] == 200


def test_compression_can_be_turned_off(registry: CollectorRegistry) -> None:
    for disabled in (False, True):
        with serving(registry=registry, disable_compression=disabled) as server:
            headers = fetch(plain(server), **{"Accept-Encoding": "gzip"})[2]
        assert ("Content-Encoding" in headers) is not disabled


@pytest.mark.parametrize("missing", ["certfile", "keyfile"])
def test_half_of_the_files_is_refused(
    registry: CollectorRegistry, certificate: tuple[Path, Path], missing: str
) -> None:
    """Metrics that were to be encrypted must not go out in the clear."""
    files = {"certfile": str(certificate[0]), "keyfile": str(certificate[1])}
    files.pop(missing)
    with pytest.raises((ValueError, OSError)), serving(registry=registry, **files):
        pass


def test_a_certificate_that_is_none_leaves_no_server_behind(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate", encoding="utf-8")
    with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError with OpenSSL's words
        start_http_server(0, "127.0.0.1", registry, certfile=str(wrong), keyfile=str(wrong))
