"""A TLS context from files."""

from __future__ import annotations

import ssl

from prom_middleware.errors import OptionError


def tls_context(
    ca_file: str | None = None, cert_file: str | None = None, key_file: str | None = None
) -> ssl.SSLContext:
    """Return a client's context, for `ssl_context`.

    It trusts the authorities of `ca_file`, or else the system's, and shows the certificate of
    `cert_file`; `key_file` has its key, unless `cert_file` has that as well. Raises OptionError for
    files that cannot be used.
    """
    if key_file and not cert_file:
        raise OptionError("key_file has no meaning without cert_file")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise OptionError(f"ca_file={ca_file!r}: {error}") from error
    if not cert_file:
        return context
    try:
        # Without a password, OpenSSL would ask for that of an encrypted key at the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
    except OSError as error:
        raise OptionError(f"cert_file={cert_file!r}, key_file={key_file!r}: {error}") from error
    return context
