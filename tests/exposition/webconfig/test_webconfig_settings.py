"""What may stand in a web-config file, as Prometheus' own promtool sees it."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

import pytest

from prom_middleware.errors import ConfigurationError, WebConfigError
from prom_middleware.exposition.webconfig import WebConfigFile, read_web_config
from prom_middleware.exposition.webconfig.settings import TLSServerConfig

HASH = "$2y$04$LegdxMi5HOyI9OtDzQFrju9ImFJ68AD0cRl.xZkSoXMgc5z7uCQCq"
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
CLIENTS = f"{TLS}  client_ca_file: ca.pem\n"

VALID = {
    "empty": "",
    "a comment": "# nothing\n",
    "empty sections": "tls_server_config:\nhttp_server_config: {}\nbasic_auth_users: null\n",
    "tls": TLS,
    "versions without certificates": "tls_server_config:\n  min_version: TLS13\n",
    "versions": f"{TLS}  min_version: TLS12\n  max_version: TLS13\n",
    "versions that exclude each other": f"{TLS}  min_version: TLS13\n  max_version: TLS12\n",
    "clients": f"{CLIENTS}  client_auth_type: RequireAndVerifyClientCert\n",
    "clients of any authority": f"{TLS}  client_auth_type: RequireClientCert\n",
    "clients if given": f"{CLIENTS}  client_auth_type: VerifyClientCertIfGiven\n",
    "clients that are asked": f"{TLS}  client_auth_type: RequestClientCert\n",
    "no clients": f"{TLS}  client_auth_type: NoClientCert\n",
    "ciphers": (
        f"{TLS}  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n"
        "  - TLS_AES_128_GCM_SHA256\n  prefer_server_cipher_suites: false\n"
    ),
    "curves": f"{TLS}  curve_preferences: [X25519, CurveP256, CurveP384, CurveP521]\n",
    "one curve": f"{TLS}  curve_preferences: [CurveP384]\n",
    "users": f"basic_auth_users:\n  alice: {HASH}\n  bob: '{HASH}'\n",
    "a user with a number for a name": f"basic_auth_users:\n  123: {HASH}\n",
    "headers": (
        "http_server_config:\n  http2: no\n  headers:\n    Content-Security-Policy: default-src\n"
        "    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n"
        "    X-XSS-Protection: 1\n    Strict-Transport-Security: max-age=31536000\n"
    ),
    "an anchor": f"basic_auth_users:\n  alice: &it {HASH}\n  bob: *it\n",
}
# The part of the message that names what is wrong.
INVALID = {
    "no YAML": ("tls_server_config: [", "not YAML"),
    "a list": ("- tls_server_config\n", "has to be a mapping"),
    "a text": ("tls\n", "has to be a mapping"),
    "unknown section": ("tls: {}\n", "no 'tls'"),
    "unknown key": (f"{TLS}  certificate: x\n", "no 'certificate'"),
    "unknown key elsewhere": ("http_server_config:\n  http3: true\n", "no 'http3'"),
    "a key twice": (f"{TLS}  key_file: server.key\n", "already there"),
    "a section twice": (f"{TLS}{TLS}", "already there"),
    "a user twice": (f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}\n", "already there"),
    "no key": ("tls_server_config:\n  cert_file: server.pem\n", "key or key_file is missing"),
    "no certificate": ("tls_server_config:\n  key_file: server.key\n", "cert or cert_file"),
    "only clients": ("tls_server_config:\n  client_ca_file: ca.pem\n", "cert or cert_file"),
    "a file that is not there": (TLS.replace("server.pem", "other.pem"), "other.pem"),
    "a key of another": (TLS.replace("server.key", "other.key"), "cert_file, key_file"),
    "a certificate that is none": (TLS.replace("server.pem", "web.yml"), "cert_file, key_file"),
    "no CA file": (
        f"{TLS}  client_ca_file: none.pem\n  client_auth_type: RequireAndVerifyClientCert\n",
        "client_ca_file",
    ),
    "unknown version": (f"{TLS}  min_version: TLS14\n", "min_version: 'TLS14'"),
    "SSL": (f"{TLS}  max_version: SSL30\n", "max_version: 'SSL30'"),
    "unknown cipher": (f"{TLS}  cipher_suites: [NULL_SHA]\n", "cipher_suites: 'NULL_SHA'"),
    "weak cipher": (f"{TLS}  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", "cipher_suites"),
    "unknown curve": (f"{TLS}  curve_preferences: [P256]\n", "curve_preferences: 'P256'"),
    "no list": (f"{TLS}  curve_preferences: X25519\n", "curve_preferences has to be a list"),
    "unknown policy": (f"{TLS}  client_auth_type: Always\n", "client_auth_type: 'Always'"),
    "a policy in small letters": (f"{TLS}  client_auth_type: noclientcert\n", "client_auth_type"),
    "a CA and no policy": (CLIENTS, "client_auth_type"),
    "a CA and nobody": (f"{CLIENTS}  client_auth_type: NoClientCert\n", "client_auth_type"),
    "a file that is a list": (TLS.replace("server.pem", "[a]"), "cert_file has to be a string"),
    "no truth": ("http_server_config:\n  http2: maybe\n", "http2: 'maybe'"),
    "a truth in quotes": ('http_server_config:\n  http2: "true"\n', "http2"),
    "a truth that is a list": ("http_server_config:\n  http2: []\n", "http2 has to be"),
    "unknown header": ("http_server_config:\n  headers:\n    X-Other: 1\n", "'X-Other'"),
    "a header in small letters": (
        "http_server_config:\n  headers:\n    x-frame-options: deny\n",
        "x",
    ),
    "a header's value": (
        "http_server_config:\n  headers:\n    X-Frame-Options: allow\n",
        "X-Frame-Options: 'allow'",
    ),
    "a password": ("basic_auth_users:\n  alice: secret\n", "alice: this is no bcrypt hash"),
    "an empty password": ("basic_auth_users:\n  alice:\n", "alice: this is no bcrypt hash"),
    "a short hash": (f"basic_auth_users:\n  alice: {HASH[:40]}\n", "alice"),
    "a hash of another kind": ("basic_auth_users:\n  a: $apr1$LegdxMi5$HOyI9OtDzQFr\n", "a: "),
    "a cost that is none": (f"basic_auth_users:\n  a: {HASH.replace('$04', '$03')}\n", "a: "),
    "users in a list": (f"basic_auth_users:\n- {HASH}\n", "basic_auth_users has to be a mapping"),
}


@pytest.fixture(scope="session")
def promtool(real_program: Callable[[str, str], str]) -> str:
    return real_program("promtool", "prometheus")


def written(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return path


def is_valid_to(promtool: str, path: Path) -> bool:
    command = [promtool, "check", "web-config", str(path)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("name", VALID)
def test_what_is_valid(folder: Path, name: str) -> None:
    file = WebConfigFile(written(folder, VALID[name]))
    assert (file.context() is not None) == ("cert_file" in VALID[name])


@pytest.mark.parametrize("name", INVALID)
def test_what_is_not(folder: Path, authority: object, name: str) -> None:
    text, named = INVALID[name]
    with pytest.raises(WebConfigError) as caught:
        WebConfigFile(_with_another_key(folder, written(folder, text)))
    message = str(caught.value)
    assert message.startswith(f"{folder}/web.yml")
    assert named in message
    assert HASH[:40] not in message, "a log is no place for hashes"


@pytest.mark.real
@pytest.mark.parametrize("name", VALID)
def test_promtool_agrees_with_what_is_valid(folder: Path, promtool: str, name: str) -> None:
    assert is_valid_to(promtool, written(folder, VALID[name]))


@pytest.mark.real
@pytest.mark.parametrize("name", INVALID)
def test_promtool_agrees_with_what_is_not(folder: Path, promtool: str, name: str) -> None:
    assert not is_valid_to(promtool, _with_another_key(folder, written(folder, INVALID[name][0])))


def _with_another_key(folder: Path, path: Path) -> Path:
    from certificates import LOCAL, Authority

    (folder / "others").mkdir()
    pair = Authority(folder / "others").issue("other", *LOCAL)
    (folder / "other.key").write_bytes(pair.key.read_bytes())
    return path


def test_the_line_is_named(folder: Path) -> None:
    with pytest.raises(WebConfigError, match=r"web\.yml:4: tls_server_config: there is no 'certs'"):
        WebConfigFile(written(folder, f"{TLS}  certs: x\n"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WebConfigError, match=r"none\.yml: the file cannot be read"):
        WebConfigFile(tmp_path / "none.yml")


def test_it_is_a_configuration_error() -> None:
    assert issubclass(WebConfigError, ConfigurationError)


def test_what_newer_ones_have() -> None:
    """Keys that promtool 2.42 does not know yet."""
    text = (
        "rate_limit:\n  interval: 1m30.5s\n  burst: 5\n"
        f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n"
        "  client_allowed_sans: [scraper.example, 10.0.0.1]\n"
    )
    config = read_web_config("web.yml", text.encode())
    assert (config.rate_limit.interval, config.rate_limit.burst) == (90.5, 5)
    assert config.tls_server_config.client_allowed_sans == ("scraper.example", "10.0.0.1")


def test_a_duration_without_a_unit_is_in_nanoseconds() -> None:
    """As Go's YAML reads one into a `time.Duration`."""
    config = read_web_config("web.yml", b"rate_limit:\n  interval: 1500000000\n")
    assert config.rate_limit.interval == 1.5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("rate_limit:\n  interval: often\n", "interval: 'often'"),
        ("rate_limit:\n  interval: 1s2\n", "interval: '1s2'"),
        ("rate_limit:\n  interval: \u0661s\n", "interval: '\u0661s'"),
        (f"rate_limit:\n  interval: {'9' * 400}\n", "is no duration"),
        (f"rate_limit:\n  burst: {'9' * 5000}\n", "is no whole number"),
        ("rate_limit:\n  burst: -1\n", "burst: '-1'"),
        ("rate_limit:\n  burst: 1.5\n", "burst: '1.5'"),
        ("rate_limit:\n  burst: \u00b2\n", "burst: '\u00b2'"),
        (f"{TLS}  client_allowed_sans: [a]\n", "client_allowed_sans needs"),
        (f"basic_auth_users:\n  'a:b': {HASH}\n", "has a colon"),
        ('http_server_config:\n  headers:\n    X-XSS-Protection: "a\\nb"\n', "in a header"),
    ],
)
def test_what_newer_ones_and_we_refuse(text: str, named: str) -> None:
    with pytest.raises(WebConfigError) as caught:
        read_web_config("web.yml", text.encode())
    assert named in str(caught.value)


def test_inline_certificates(folder: Path) -> None:
    cert, key = ((folder / f"server.{end}").read_text() for end in ("pem", "key"))
    text = f"tls_server_config:\n  cert: |\n{indent(cert, '    ')}  key: |\n{indent(key, '    ')}"
    ca = indent((folder / "ca.pem").read_text(), "    ")
    text += f"  client_ca: |\n{ca}  client_auth_type: RequireAndVerifyClientCert\n"
    context = WebConfigFile(written(folder, text)).context()
    assert context is not None
    assert len(context.get_ca_certs()) == 1


def test_clients_are_of_any_authority_of_the_system_where_none_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    for policy, found in (("RequireClientCert", 1), ("NoClientCert", 0)):
        text = f"{TLS}  client_auth_type: {policy}\n"
        context = WebConfigFile(written(folder, text)).context()
        assert context is not None
        assert len(context.get_ca_certs()) == found


def test_secrets_are_in_no_repr() -> None:
    config = read_web_config("web.yml", f"basic_auth_users:\n  a: {HASH}\n".encode())
    assert HASH not in repr(config)
    assert "secret" not in repr(TLSServerConfig(key="secret"))


def test_ciphers_versions_and_order(folder: Path) -> None:
    one = "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"
    more = f"{TLS}{one}  prefer_server_cipher_suites: false\n  max_version: TLS12\n"
    context = WebConfigFile(written(folder, more)).context()
    assert context is not None
    older = [c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"]
    assert older == ["ECDHE-ECDSA-AES128-GCM-SHA256"]
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert context.maximum_version == ssl.TLSVersion.TLSv1_2


def test_ciphers_of_the_newest_version_alone_leave_no_older_one(folder: Path) -> None:
    text = f"{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n"
    context = WebConfigFile(written(folder, text)).context()
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
