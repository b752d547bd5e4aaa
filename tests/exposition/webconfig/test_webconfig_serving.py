"""A server under a web-config file: TLS, users, headers, and what a change of the file changes."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry, Counter

from certificates import LOCAL, Authority, Pair
from prom_middleware import failures
from prom_middleware.errors import OptionError, WebConfigError
from prom_middleware.exposition import (
    ScrapeRequest,
    allow_networks,
    bearer_token,
    start_http_server,
)
from prom_middleware.exposition.webconfig import users
from prom_middleware.exposition.webconfig.limiting import Limiter
from prom_middleware.exposition.webconfig.settings import RateLimit

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
SURE = f"{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def with_users(**passwords: str) -> str:
    lines = (f"  {name}: {hashed(password)}\n" for name, password in passwords.items())
    return "basic_auth_users:\n" + "".join(lines)


class Site:
    """What is served, and the file that it is served under."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "web.yml"
        self.port = 0

    def write(self, text: str) -> None:
        """Write it anew, at once: the server may look at any moment, and counts what it saw."""
        beside = self.path.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.path)

    def get(self, client: Pair | None = None, **arguments: Any) -> httpx.Response:
        """Answer a GET; raises httpx.TransportError."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if client is not None:
            context.load_cert_chain(client.cert, client.key)
        scheme = arguments.pop("scheme", "https")
        url = f"{scheme}://127.0.0.1:{self.port}/metrics"
        return httpx.get(url, verify=context, timeout=10, trust_env=False, **arguments)

    def serial(self) -> int:
        """Return the serial number of the certificate that the server shows."""
        pem = ssl.get_server_certificate(("127.0.0.1", self.port))
        return x509.load_pem_x509_certificate(pem.encode()).serial_number


@contextmanager
def serving(folder: Path, text: str, **arguments: Any) -> Iterator[Site]:
    site = Site(folder)
    site.write(text)
    registry = CollectorRegistry()
    Counter("mine", "Mine.", registry=registry).inc()
    path = arguments.pop("path", site.path)
    server, thread = start_http_server(0, "127.0.0.1", registry, web_config_file=path, **arguments)
    site.port = server.server_port
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def causes() -> Callable[[], float]:
    """Return how to ask how many changes could not be used since the test began."""
    before = failures.counts().get("web_config", 0)
    return lambda: failures.counts().get("web_config", 0) - before


# --- TLS


def test_tls_and_relative_paths(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with serving(folder, TLS) as site:
        response = site.get()
        assert response.status_code == 200
        assert "mine_total 1.0" in response.text
        with pytest.raises(httpx.TransportError):
            site.get(scheme="http")


def test_curl(folder: Path, real_program: Callable[[str, str], str]) -> None:
    curl = real_program("curl", "curl")
    command = [
        curl,
        "-sS",
        "--noproxy",
        "*",
        "--cacert",
        str(folder / "ca.pem"),
        "-u",
        "joe:secret",
    ]
    with serving(folder, TLS + with_users(joe="secret")) as site:
        command += ["-w", "%{http_code} %{ssl_verify_result}", f"https://localhost:{site.port}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("200 0"), done.stderr


def test_clients_certificates(folder: Path) -> None:
    friend = Authority.issue(_authority(folder), "friend")
    (folder / "foreign").mkdir()
    stranger = Authority(folder / "foreign").issue("stranger")
    with serving(folder, SURE) as site:
        assert site.get(friend).status_code == 200
        for client in (stranger, None):
            with pytest.raises(httpx.TransportError):
                site.get(client)


def _authority(folder: Path) -> Authority:
    """Return a new authority in `folder`, whose clients and server are its own."""
    made = Authority(folder)
    made.issue("server", *LOCAL)
    return made


@pytest.mark.parametrize(
    ("allowed", "san"),
    [
        ("scraper.example", x509.DNSName("scraper.example")),
        ("me@example.com", x509.RFC822Name("me@example.com")),
        ("10.1.2.3", x509.IPAddress(ip_address("10.1.2.3"))),
        ("2001:db8::1", x509.IPAddress(ip_address("2001:db8::1"))),
        ("spiffe://example/scraper", x509.UniformResourceIdentifier("spiffe://example/scraper")),
    ],
)
def test_names_in_clients_certificates(folder: Path, allowed: str, san: Any) -> None:
    authority = _authority(folder)
    right = authority.issue("right", san)
    wrong, nameless = authority.issue("wrong", x509.DNSName("x.example")), authority.issue("none")
    text = f"{SURE}  client_allowed_sans:\n  - somebody.example\n  - '{allowed}'\n"
    with serving(folder, text) as site:
        assert site.get(right).status_code == 200
        for client in (wrong, nameless):
            with pytest.raises(httpx.TransportError):
                site.get(client)


def test_an_older_version_than_allowed(folder: Path) -> None:
    with serving(folder, f"{TLS}  min_version: TLS13\n") as site:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        assert site.get().status_code == 200
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://127.0.0.1:{site.port}/", verify=context, trust_env=False)


def test_an_encrypted_key_is_asked_for_by_nobody(folder: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    command = f"{openssl} pkey -in server.key -aes256 -passout pass:secret -out locked.key"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    with (
        pytest.raises(WebConfigError, match="cert_file, key_file"),
        serving(folder, TLS.replace("server.key", "locked.key")),
    ):
        pass


# --- users


def test_users(folder: Path) -> None:
    with serving(folder, with_users(joe="secret", eve="other")) as site:
        get = site.get
        assert get(scheme="http", auth=("joe", "secret")).status_code == 200
        assert get(scheme="http", auth=("eve", "other")).status_code == 200
        for wrong in (("joe", "other"), ("bob", "secret"), ("", ""), ("joe", "")):
            response = get(scheme="http", auth=wrong)
            assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")
        assert get(scheme="http").status_code == 401


def test_hashes_of_apache_and_php(folder: Path) -> None:
    """They write $2y$."""
    text = with_users(joe="secret").replace("$2b$", "$2y$")
    assert "$2y$" in text
    with serving(folder, text) as site:
        assert site.get(scheme="http", auth=("joe", "secret")).status_code == 200


def test_a_long_password(folder: Path) -> None:
    """bcrypt looks at 72 bytes, as Go's does."""
    with serving(folder, with_users(joe="x" * 72)) as site:
        assert site.get(scheme="http", auth=("joe", "x" * 500)).status_code == 200
        assert site.get(scheme="http", auth=("joe", "x" * 71)).status_code == 401


def test_access_as_well(folder: Path) -> None:
    nobody = allow_networks("192.0.2.0/24")
    with serving(folder, with_users(joe="secret"), access=nobody) as site:
        assert site.get(scheme="http", auth=("joe", "secret")).status_code == 403
        assert site.get(scheme="http").status_code == 401
    with serving(folder, with_users(joe="secret"), access=allow_networks("127.0.0.1")) as site:
        assert site.get(scheme="http", auth=("joe", "secret")).status_code == 200
        assert site.get(scheme="http").status_code == 401


@pytest.mark.parametrize(
    ("access", "status", "challenge"),
    [
        (allow_networks("192.0.2.0/24"), 403, None),
        (lambda request: False, 403, None),
        (bearer_token("x"), 401, bearer_token.challenge),
    ],
)
def test_the_rule_that_refuses_says_how(
    folder: Path, access: Any, status: int, challenge: str | None
) -> None:
    with serving(folder, "{}\n", access=access) as site:
        answer = site.get(scheme="http")
        assert (answer.status_code, answer.headers.get("www-authenticate")) == (status, challenge)


def knowing(**passwords: str) -> users.BcryptUsers:
    table = {name: hashed(password) for name, password in passwords.items()}
    return users.BcryptUsers(lambda: table)


def _request(user: str, password: str) -> ScrapeRequest:
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    return ScrapeRequest("GET", "/", "", {"authorization": f"Basic {login}"}, None)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the passwords that bcrypt has to look at."""
    seen: list[bytes] = []

    class Counting:
        @staticmethod
        def checkpw(password: bytes, hashed: bytes) -> bool:
            seen.append(password)
            return bcrypt.checkpw(password, hashed)

    monkeypatch.setattr(users, "bcrypt", Counting)
    return seen


def test_bcrypt_is_asked_once(compared: list[bytes]) -> None:
    rule = knowing(joe="secret")
    for _ in range(3):
        assert rule(_request("joe", "secret"))
        assert not rule(_request("joe", "wrong"))
        assert not rule(_request("eve", "secret"))
    assert compared == [b"secret", b"wrong", b"secret"]


def test_what_is_remembered_is_no_password() -> None:
    rule = knowing(joe="a long secret")
    assert rule(_request("joe", "a long secret"))
    assert not rule(_request("joe", "a long guess"))
    assert "a long" not in repr(vars(rule))


def test_a_login_without_a_colon_is_none() -> None:
    rule = knowing(joe="")
    login = base64.b64encode(b"joe").decode()
    headers = {"authorization": f"Basic {login}"}
    assert not rule(ScrapeRequest("GET", "/", "", headers, None))
    assert rule(_request("joe", ""))


def test_guesses_push_nobody_out(compared: list[bytes]) -> None:
    rule = knowing(joe="secret")
    assert rule(_request("joe", "secret"))
    for number in range(users.MOST_REFUSED + 20):
        assert not rule(_request(f"user{number}", "guess"))
    before = len(compared)
    assert rule(_request("joe", "secret"))
    assert len(compared) == before
    assert len(vars(rule)["_refused"]) == users.MOST_REFUSED


def test_somebody_unknown_is_compared_with_the_costliest() -> None:
    costly = bcrypt.hashpw(b"other", bcrypt.gensalt(5)).decode()
    rule = users.BcryptUsers(lambda: {"joe": hashed("secret"), "eve": costly})
    assert not rule(_request("nobody", "other")), "the right password of somebody else"
    assert [key[1] for key in vars(rule)["_refused"]] == [costly]
    assert rule(_request("eve", "other"))


def test_who_guesses_holds_up_nobody_who_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = knowing(joe="secret")
    assert rule(_request("joe", "secret"))
    slow, begun = threading.Event(), threading.Event()

    class Slow:
        @staticmethod
        def checkpw(password: bytes, hashed: bytes) -> bool:
            begun.set()
            return not slow.wait(30)

    monkeypatch.setattr(users, "bcrypt", Slow)
    guesses = [
        threading.Thread(target=rule, args=(_request("joe", str(number)),), daemon=True)
        for number in range(users.MOST_WAITING)
    ]
    for guess in guesses:
        guess.start()
    try:
        assert begun.wait(30)
        _until(lambda: not rule._places.acquire(blocking=False) or rule._places.release())  # type: ignore[func-returns-value]
        assert rule(_request("joe", "secret")), "known: without a wait"
        assert not rule(_request("joe", "one more")), "refused at once"
    finally:
        slow.set()
        for guess in guesses:
            guess.join(30)


def _until(true: Callable[[], object]) -> None:
    from waiting import eventually

    assert eventually(true, bool)


# --- headers, limits


def test_headers(folder: Path) -> None:
    text = (
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
        "    Strict-Transport-Security: max-age=1\n    X-XSS-Protection: ''\n"
    )
    with serving(folder, text + with_users(joe="secret")) as site:
        for response in (site.get(scheme="http"), site.get(scheme="http", auth=("joe", "secret"))):
            assert response.headers["X-Frame-Options"] == "deny"
            assert response.headers["Strict-Transport-Security"] == "max-age=1"
            assert "X-XSS-Protection" not in response.headers


def test_rate_limit(folder: Path) -> None:
    with serving(folder, "rate_limit:\n  interval: 1h\n  burst: 2\n") as site:
        codes = [site.get(scheme="http").status_code for _ in range(4)]
        with socket.create_connection(("127.0.0.1", site.port), 10) as connection:
            connection.sendall(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            refused = b"".join(iter(lambda: connection.recv(4096), b""))
    assert codes == [200, 200, 429, 429]
    assert b" 429 " in refused.splitlines()[0]
    assert refused.endswith(b"\r\n\r\n"), "a HEAD has no body"


def test_the_bucket_fills_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("prom_middleware.exposition.webconfig.limiting.monotonic", lambda: now)
    limiter = Limiter(RateLimit(interval=2.0, burst=2))
    assert [limiter.allows() for _ in range(3)] == [True, True, False]
    now = 1.9
    assert not limiter.allows()
    now = 100.0
    assert [limiter.allows() for _ in range(3)] == [True, True, False]


# --- changes


def test_new_users(folder: Path, causes: Callable[[], float]) -> None:
    with serving(folder, with_users(joe="secret")) as site:
        assert site.get(scheme="http", auth=("joe", "secret")).status_code == 200
        site.write(with_users(eve="other"))
        assert site.get(scheme="http", auth=("eve", "other")).status_code == 200
        assert site.get(scheme="http", auth=("joe", "secret")).status_code == 401, "gone"
        site.write(with_users(joe="changed"))
        assert site.get(scheme="http", auth=("joe", "secret")).status_code == 401
        assert site.get(scheme="http", auth=("joe", "changed")).status_code == 200
    assert causes() == 0


def test_new_certificate_under_the_same_name(folder: Path) -> None:
    authority = _authority(folder)
    with serving(folder, TLS) as site:
        before = site.serial()
        assert site.serial() == before
        authority.issue("server", *LOCAL)
        assert site.serial() != before
        assert site.get().status_code == 200


@pytest.mark.parametrize(
    "broken",
    ["tls_server_config: [", "basic_auth_users:\n  joe: secret\n", "", TLS, with_users(eve="x")],
    ids=["no YAML", "no hash", "empty", "no users any more", "no TLS any more"],
)
def test_a_change_that_cannot_be_used(
    folder: Path, causes: Callable[[], float], broken: str
) -> None:
    with serving(folder, TLS + with_users(joe="secret")) as site:
        site.write(broken)
        for _ in range(3):
            assert site.get(auth=("joe", "secret")).status_code == 200
            assert site.get().status_code == 401
        assert causes() == 1, "once"
        site.write(TLS + with_users(eve="other"))
        assert site.get(auth=("eve", "other")).status_code == 200
        assert causes() == 1


def test_files_that_are_gone(folder: Path, causes: Callable[[], float]) -> None:
    with serving(folder, TLS) as site:
        key = (folder / "server.key").read_bytes()
        (folder / "server.key").unlink()
        assert site.get().status_code == 200
        before = causes()
        site.path.unlink()
        assert [site.get().status_code for _ in range(3)] == [200] * 3
        assert causes() == before + 1
        (folder / "server.key").write_bytes(key)
        site.write(f"{TLS}  min_version: TLS13\n")
        assert site.get().status_code == 200


def test_a_certificate_that_comes_after_the_file_that_names_it(
    folder: Path, causes: Callable[[], float]
) -> None:
    authority = _authority(folder)
    with serving(folder, TLS) as site:
        before = site.serial()
        site.write(TLS.replace("server.", "later."))
        assert site.serial() == site.serial() == before
        assert causes() == 1
        authority.issue("later", *LOCAL)
        assert site.serial() != before
        assert site.get().status_code == 200


def test_tls_that_is_added(folder: Path) -> None:
    with serving(folder, "") as site:
        assert site.get(scheme="http").status_code == 200
        site.write(TLS)
        assert site.get().status_code == 200


def test_many_at_once_while_the_file_changes(folder: Path) -> None:
    with serving(folder, with_users(joe="secret")) as site:
        codes: list[int] = []
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                codes.append(site.get(scheme="http", auth=("joe", "secret")).status_code)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            site.write(with_users(joe="secret", other=f"{number}"))
        _until(lambda: len(codes) > 20)
        done.set()
        for thread in threads:
            thread.join(30)
    assert set(codes) == {200}


# --- arguments


def test_both_kinds_of_tls(folder: Path) -> None:
    with (
        pytest.raises(OptionError, match="web_config_file"),
        serving(folder, TLS, certfile="server.pem", keyfile="server.key"),
    ):
        pass


def test_a_wrong_file_leaves_no_server_behind(folder: Path) -> None:
    before = threading.active_count()
    with pytest.raises(WebConfigError), serving(folder, "nothing: true\n"):
        pass
    assert threading.active_count() == before


def test_a_peer_that_breaks_off(folder: Path) -> None:
    with serving(folder, TLS) as site:
        with socket.create_connection(("127.0.0.1", site.port), timeout=10) as rude:
            rude.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"mine_total" not in rude.recv(1000)
        assert site.get().status_code == 200
