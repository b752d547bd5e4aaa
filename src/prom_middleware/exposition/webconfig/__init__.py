"""Web-config files: TLS, basic auth and headers, as exporters have them.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md

document.py    from YAML to checked values, with the line of what is wrong
settings.py    what may stand in the file
tls.py         from the file's TLS section to contexts, and whose certificate is welcome
users.py       basic auth against bcrypt hashes: an access rule
limiting.py    so many requests in a time
ciphers.py     cipher suites by their names in Go and in OpenSSL
watching.py    the file as it is now: read anew when it changes
governing.py   an application under the file's headers and rate limit
"""

from __future__ import annotations

from prom_middleware.exposition.webconfig.governing import governed
from prom_middleware.exposition.webconfig.settings import WebConfig, read_web_config
from prom_middleware.exposition.webconfig.watching import WebConfigFile

__all__ = ["WebConfig", "WebConfigFile", "governed", "read_web_config"]
