"""From the file's TLS section to a context, and whose certificate is welcome."""

from __future__ import annotations

import os
import ssl
from ipaddress import ip_address
from tempfile import TemporaryDirectory
from typing import Any

from prom_middleware.errors import WebConfigError
from prom_middleware.exposition.webconfig.settings import CLIENT_AUTH, TLSServerConfig


def make_context(path: str, tls: TLSServerConfig) -> ssl.SSLContext:
    """Return a server's context; `path` is the web-config file's.

    Raises WebConfigError for a certificate, key or CA that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    steps = {
        "cert_file, key_file": _load_certificate,
        "client_ca_file": _load_client_ca,
        "cipher_suites": _choose_ciphers,
        "curve_preferences": _choose_curves,
    }
    for keys, step in steps.items():
        try:
            step(context, os.path.dirname(path), tls)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise WebConfigError(f"{path}: tls_server_config: {keys}: {error}") from error
    context.minimum_version, context.maximum_version = _versions(tls)
    return context


def named_files(path: str, tls: TLSServerConfig) -> list[str]:
    """Return the paths of the files that the section names."""
    names = (tls.cert_file, tls.key_file, tls.client_ca_file)
    return [os.path.join(os.path.dirname(path), name) for name in names if name]


def is_welcome(certificate: Any, allowed: tuple[str, ...] | None) -> bool:
    """Tell whether a peer's certificate, as `getpeercert` returns it, has one of the names."""
    if allowed is None:
        return True
    names = (certificate or {}).get("subjectAltName", ())
    return any(_plain(kind, name) in allowed for kind, name in names)


def _plain(kind: str, name: str) -> str:
    # OpenSSL writes all groups of an IPv6 address; the file has it as Go writes it.
    return str(ip_address(name.strip())) if kind == "IP Address" else name


def _load_certificate(context: ssl.SSLContext, folder: str, tls: TLSServerConfig) -> None:
    with TemporaryDirectory() as private:
        cert = _file(folder, tls.cert_file) or _written(private, "cert", tls.cert)
        key = _file(folder, tls.key_file) or _written(private, "key", tls.key)
        for name in (cert, key):
            open(name, "rb").close()  # its error names the file, OpenSSL's does not
        # Without a password, OpenSSL would ask for that of an encrypted key at the terminal.
        context.load_cert_chain(cert, key, password="")


def _file(folder: str, name: str) -> str:
    return os.path.join(folder, name) if name else ""


def _written(folder: str, name: str, text: str) -> str:
    path = os.path.join(folder, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def _load_client_ca(context: ssl.SSLContext, folder: str, tls: TLSServerConfig) -> None:
    context.verify_mode = CLIENT_AUTH[tls.client_auth_type]
    if tls.client_ca_file:
        context.load_verify_locations(_file(folder, tls.client_ca_file))
    elif tls.client_ca:
        context.load_verify_locations(cadata=tls.client_ca)
    elif context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)


def _choose_ciphers(context: ssl.SSLContext, folder: str, tls: TLSServerConfig) -> None:
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    older = [name for name in tls.cipher_suites if name]
    if older:
        context.set_ciphers(":".join(older))


def _choose_curves(context: ssl.SSLContext, folder: str, tls: TLSServerConfig) -> None:
    # Python passes one on to OpenSSL; of several, OpenSSL's own order stands, which begins alike.
    if len(tls.curve_preferences) == 1:
        context.set_ecdh_curve(*tls.curve_preferences)


def _versions(tls: TLSServerConfig) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    lowest = tls.min_version
    if tls.cipher_suites and not any(tls.cipher_suites):  # none that an older version could use
        lowest = ssl.TLSVersion.TLSv1_3
    return lowest, tls.max_version
