"""The exceptions that this package raises, when something is constructed or parsed.

PromMiddlewareError
├── ParseError (a ValueError)         metrics that are not in the format that they are read as
├── pushgateway.StorageError          a gateway's file that cannot be used
└── ConfigurationError (a ValueError)
    ├── OptionError               an option that does not exist, or a value that it cannot have
    ├── LabelNameError            a label name that Prometheus does not allow
    ├── ReservedLabelError        a label name that the format or our own metrics already use
    ├── BucketsError              bounds that are empty, unsorted, doubled, negative or no numbers
    ├── PresetError               a preset that does not exist
    ├── MetricConflictError       a registry with metrics of our names, or ours with other options
    ├── NotAnApplicationError     what was given cannot be served
    ├── WebConfigError            a web-config file that cannot be used
    ├── MappingError              a mapping file of a bridge that cannot be used
    └── MissingFrameworkError     a package that is missing or too old (an ImportError as well)

Nothing in this tree is raised while a request is served: see `prom_middleware.failures`.
"""

from __future__ import annotations

__all__ = [
    "BucketsError",
    "ConfigurationError",
    "LabelNameError",
    "MappingError",
    "MetricConflictError",
    "MissingFrameworkError",
    "NotAnApplicationError",
    "OptionError",
    "ParseError",
    "PresetError",
    "PromMiddlewareError",
    "ReservedLabelError",
    "WebConfigError",
]


class PromMiddlewareError(Exception):
    """The base of everything that this package raises."""


class ParseError(PromMiddlewareError, ValueError):
    """Metrics are not in the format that they are read as.

    `line` and `column` count from 1, in characters; protobuf has no lines, and its `column` is a
    byte of the body. `reason` alone is in the words of Prometheus' own parser, where it has any.
    """

    def __init__(self, reason: str, line: int | None, column: int, expected: str = "") -> None:
        super().__init__(reason, line, column, expected)
        self.reason, self.line, self.column, self.expected = reason, line, column, expected

    def __str__(self) -> str:
        place = (
            f"byte {self.column}"
            if self.line is None
            else f"line {self.line}, column {self.column}"
        )
        return f"{place}: {self.reason}" + (f" (expected {self.expected})" if self.expected else "")


class ConfigurationError(PromMiddlewareError, ValueError):
    """The base of what is wrong with how something was set up."""


class OptionError(ConfigurationError):
    """An option does not exist, or has a value that it cannot have."""


class LabelNameError(ConfigurationError):
    """A label name is not one that Prometheus allows."""


class ReservedLabelError(ConfigurationError):
    """A label name belongs to the exposition format or to our own metrics."""


class BucketsError(ConfigurationError):
    """Bucket bounds are empty, unsorted, doubled, negative or not numbers."""


class PresetError(ConfigurationError):
    """A naming preset does not exist."""


class MetricConflictError(ConfigurationError):
    """The registry has metrics that ours cannot live beside."""


class NotAnApplicationError(ConfigurationError):
    """What was given is not an application that can be instrumented."""


class WebConfigError(ConfigurationError):
    """A web-config file cannot be used; the message names the file, its line and the key."""


class MappingError(ConfigurationError):
    """A mapping file cannot be used; the message names the file or the mapping, and the key."""


class MissingFrameworkError(ConfigurationError, ImportError):
    """The package that this door or option needs cannot be imported."""
