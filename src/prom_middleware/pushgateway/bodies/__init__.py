"""What is pushed: from bytes to families.

codings.py   gzip and Snappy, up to a limit
text.py      the text format, as Go's reference parser reads it
tokens.py    what its lines are made of
drafts.py    a family of it while it is read
protobuf.py  delimited protocol buffers
errors.py    what is wrong with a body
"""

from __future__ import annotations

from prom_middleware.exposition.negotiation import is_delimited
from prom_middleware.pushgateway.bodies.codings import undo
from prom_middleware.pushgateway.bodies.protobuf import parse_protobuf
from prom_middleware.pushgateway.bodies.text import parse_text
from prom_middleware.pushgateway.families import Family


def parse_body(
    body: bytes, content_type: str, content_encoding: str, *, limit: int, utf8_names: bool = False
) -> list[Family]:
    """Return the families in a body; `limit` is in bytes, unpacked.

    What is not said to be protobuf, with both parameters, is text, as in the original: OpenMetrics
    too. Raises BodyError.
    """
    content = undo(body, content_encoding, limit)
    if is_delimited(content_type):
        return parse_protobuf(content)
    return parse_text(content, utf8_names=utf8_names)
