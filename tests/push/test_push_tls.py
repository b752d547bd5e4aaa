"""TLS and passwords, asked for by real gateways."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import httpx
import pytest
from prometheus_client import CollectorRegistry

from certificates import LOCAL, Authority, Pair
from ports import free_port
from prom_middleware.errors import OptionError
from prom_middleware.push import push_to_gateway, tls_context
from push.conftest import KINDS
from push.gateways import command_of, listening, tunnel
from servers.support import launched
from waiting import eventually

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("hurried")]

CONFIG = """\
tls_server_config:
  cert_file: {server.cert}
  key_file: {server.key}
  client_ca_file: {authority.cert}
  client_auth_type: RequireAndVerifyClientCert
basic_auth_users:
  joe: {password}
"""


class Secured(NamedTuple):
    """A gateway, and what one needs to get in."""

    url: str
    authority: Authority
    client: Pair


@pytest.fixture(params=KINDS, scope="module")
def secured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    server, client = authority.issue("server", LOCAL[0]), authority.issue("client", *LOCAL)
    password = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    config = folder / "web.yml"
    config.write_text(CONFIG.format(server=server, authority=authority, password=password))
    port = free_port()
    with launched(command_of(request.param, port, f"--web.config.file={config}"), port):
        url = f"https://localhost:{port}"
        context = tls_context(str(authority.cert), str(client.cert), str(client.key))
        assert eventually(lambda: status(url, context), bool, 60) == 200
        yield Secured(url, authority, client)


def status(url: str, context: ssl.SSLContext) -> int:
    try:
        return httpx.get(
            f"{url}/-/ready", verify=context, auth=("joe", "secret"), trust_env=False
        ).status_code
    except httpx.TransportError:
        return 0


def pushed(secured: Secured, registry: CollectorRegistry) -> tuple[bool, int | None]:
    """Push with all that is asked for."""
    files = (secured.authority.cert, secured.client.cert, secured.client.key)
    context, login = tls_context(*map(str, files)), ("joe", "secret")
    result = push_to_gateway(secured.url, "j", registry, ssl_context=context, basic_auth=login)
    return result.ok, result.status


def test_who_has_all_of_it_gets_in(secured: Secured, registry: CollectorRegistry) -> None:
    assert pushed(secured, registry) == (True, 200)


def test_through_a_proxy(
    secured: Secured, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with listening(tunnel) as (address, accepted):
        monkeypatch.setenv("https_proxy", f"http://{address}")
        assert pushed(secured, registry) == (True, 200)
    assert len(accepted) == 1


def test_a_wrong_password(secured: Secured, registry: CollectorRegistry) -> None:
    files = (secured.authority.cert, secured.client.cert, secured.client.key)
    context = tls_context(*map(str, files))
    result = push_to_gateway(
        secured.url, "j", registry, ssl_context=context, basic_auth=("joe", "wrong")
    )
    assert (result.ok, result.status, result.attempts) == (False, 401, 1)


def test_an_authority_that_we_do_not_trust(
    secured: Secured, registry: CollectorRegistry, tmp_path: Path
) -> None:
    strange = tls_context(str(Authority(tmp_path).cert))
    for context in (strange, None):
        result = push_to_gateway(secured.url, "j", registry, ssl_context=context)
        assert (result.ok, result.status, result.attempts) == (False, None, 1)
        assert "certificate verify failed" in result.reason


def test_a_name_that_is_not_in_the_certificate(
    secured: Secured, registry: CollectorRegistry
) -> None:
    context = tls_context(str(secured.authority.cert))
    url = secured.url.replace("localhost", "127.0.0.1")
    result = push_to_gateway(url, "j", registry, ssl_context=context)
    assert (result.ok, result.attempts) == (False, 1)
    assert "127.0.0.1" in result.reason


def test_no_certificate_of_ours(secured: Secured, registry: CollectorRegistry) -> None:
    context = tls_context(str(secured.authority.cert))
    result = push_to_gateway(secured.url, "j", registry, ssl_context=context, retries=0)
    assert not result


def test_plain_text_to_tls(secured: Secured, registry: CollectorRegistry) -> None:
    url = secured.url.replace("https", "http")
    result = push_to_gateway(url, "j", registry, retries=0)
    assert not result


def test_tls_to_plain_text(registry: CollectorRegistry) -> None:
    from push.gateways import scripted

    with scripted(200) as server:
        result = push_to_gateway(f"https://{server.address}", "j", registry, retries=0)
    assert not result
    assert "SSL" in result.reason


@pytest.mark.parametrize(
    "files",
    [
        {"ca_file": "{none}"},
        {"ca_file": "{text}"},
        {"cert_file": "{none}"},
        {"cert_file": "{text}"},
        {"key_file": "{text}"},
    ],
    ids=str,
)
def test_files_that_are_no_use(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    places = {name: str(tmp_path / name) for name in ("none", "text")}
    arguments: dict[str, Any] = {key: value.format(**places) for key, value in files.items()}
    with pytest.raises(OptionError, match=next(iter(files))):
        tls_context(**arguments)
