"""From YAML to checked values: what is unknown, doubled or of the wrong kind is refused.

The nodes are read, not the objects that PyYAML would make of them: these have no lines, are merged
where a key stands twice, and are numbers and dates where the file's own format has strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prom_middleware.errors import MissingFrameworkError, WebConfigError
from prom_middleware.options import MOST_DIGITS, is_digits

try:
    import yaml
except ImportError as missing:
    raise MissingFrameworkError(
        'a web-config file needs PyYAML: pip install "prom_middleware[web-config]"'
    ) from missing

# Reads a node, given its key's name for messages; raises through `Document.refuse`.
Reader = Callable[["Document", Any, str], Any]

TAG = "tag:yaml.org,2002:"
TRUE = ("y", "yes", "true", "on")
FALSE = ("n", "no", "false", "off")  # YAML 1.1, as Go's yaml.v2 reads it


class Document:
    """One file of YAML, at `path`."""

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        try:
            self._root = yaml.compose(content.decode(), Loader=yaml.SafeLoader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise WebConfigError(f"{path}: this is not YAML: {error}") from error

    def read(self, reader: Reader) -> Any:
        """Return what `reader` makes of the whole document."""
        return reader(self, self._root, "the file")

    def refuse(self, node: Any, message: str) -> WebConfigError:
        """Return the error to raise, with the file and the line of `node`."""
        return WebConfigError(f"{self.path}:{node.start_mark.line + 1}: {message}")

    def scalar(self, node: Any, key: str, wanted: str) -> str:
        """Return the text of a scalar."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.refuse(node, f"{key} has to be {wanted}")
        return str(node.value)

    def is_empty(self, node: Any) -> bool:
        """Tell whether nothing is there: the value is then that of a missing key."""
        return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == f"{TAG}null")

    def items(self, node: Any, key: str) -> list[Any]:
        """Return the nodes of a list."""
        if not isinstance(node, yaml.SequenceNode):
            raise self.refuse(node, f"{key} has to be a list")
        return list(node.value)

    def pairs(self, node: Any, key: str) -> dict[str, Any]:
        """Return the nodes of a mapping by their names; a name may stand there once."""
        if not isinstance(node, yaml.MappingNode):
            raise self.refuse(node, f"{key} has to be a mapping")
        found: dict[str, Any] = {}
        for name_node, value in node.value:
            name = self.scalar(name_node, f"a name in {key}", "a string")
            if name in found:
                raise self.refuse(name_node, f"{key}: {name!r} is already there")
            found[name] = value
        return found


def string(document: Document, node: Any, key: str) -> str:
    """Read a string; numbers and truths are taken as they are written."""
    return "" if document.is_empty(node) else document.scalar(node, key, "a string")


def boolean(document: Document, node: Any, key: str) -> bool:
    """Read true or false."""
    value = document.scalar(node, key, "true or false").lower()
    if value not in (*TRUE, *FALSE) or node.style is not None:
        raise document.refuse(node, f"{key}: {value!r} is neither true nor false")
    return value in TRUE


def integer(document: Document, node: Any, key: str) -> int:
    """Read a whole number, 0 or more."""
    value = document.scalar(node, key, "a whole number")
    if not is_digits(value) or len(value) > MOST_DIGITS or node.style is not None:
        raise document.refuse(node, f"{key}: {value!r} is no whole number")
    return int(value)


def one_of(choices: Mapping[str, Any], what: str) -> Reader:
    """Return a reader of one of the names in `choices`, which returns what stands for it there."""

    def read(document: Document, node: Any, key: str) -> Any:
        name = string(document, node, key)
        if name not in choices:
            known = ", ".join(filter(None, choices))
            raise document.refuse(node, f"{key}: {name!r} is no {what}; there are {known}")
        return choices[name]

    return read


def list_of(reader: Reader) -> Reader:
    """Return a reader of a list."""

    def read(document: Document, node: Any, key: str) -> Any:
        if document.is_empty(node):
            return None
        return tuple(reader(document, item, key) for item in document.items(node, key))

    return read


def table_of(reader: Reader) -> Reader:
    """Return a reader of a mapping whose names are free."""

    def read(document: Document, node: Any, key: str) -> Any:
        if document.is_empty(node):
            return {}
        pairs = document.pairs(node, key)
        return {name: reader(document, value, f"{key}: {name}") for name, value in pairs.items()}

    return read


def section(make: Callable[..., Any], readers: Mapping[str, Reader]) -> Reader:
    """Return a reader of a mapping whose names are those of `readers`; `make` gets the values.

    What is empty counts as missing: `make` has the defaults.
    """

    def read(document: Document, node: Any, key: str) -> Any:
        pairs = {} if document.is_empty(node) else document.pairs(node, key)
        for name, value in pairs.items():
            if name not in readers:
                known = ", ".join(readers)
                raise document.refuse(value, f"{key}: there is no {name!r}; there are {known}")
        values = {
            name: readers[name](document, value, name)
            for name, value in pairs.items()
            if not document.is_empty(value)
        }
        return make(**values)

    return read
