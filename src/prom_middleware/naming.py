"""What names may be in Prometheus' data model: https://prometheus.io/docs/concepts/data_model/

Patterns as text: who imports a door need not wait until all of them are compiled.
"""

from __future__ import annotations

import re

METRIC_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"


def is_label_name(name: object) -> bool:
    """Tell whether somebody may call a label so."""
    return (
        isinstance(name, str)
        and re.fullmatch(LABEL_NAME, name) is not None
        and not name.startswith("__")
    )
