"""Which of werkzeug's rules a request belongs to, for Flask and for Klein."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

pytest.importorskip("werkzeug", reason="werkzeug is not installed")

from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Map, MapAdapter, Rule

from prom_middleware.werkzeug import matching_rule


class Ordered(MapAdapter):
    """Tells the methods of a 405 in a given order, which otherwise differs from run to run."""

    order: tuple[str, ...]

    def match(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().match(*arguments, **options)
        except MethodNotAllowed as error:
            methods = sorted(error.valid_methods or (), key=self.order.index)
            raise MethodNotAllowed(valid_methods=methods) from None


def matched(rules: list[Rule], path: str, method: str, order: tuple[str, ...] = ()) -> str | None:
    adapter = Map([rule.empty() for rule in rules]).bind("localhost")
    adapter.__class__, adapter.order = Ordered, order
    rule = matching_rule(adapter, path, method)
    return None if rule is None else str(rule.rule)


METHODS = ("DELETE", "PATCH", "POST", "PUT")
# Rules by their methods, a path, and the rule that werkzeug comes to first.
TRIED = {
    "static first": ({"POST": "/u/<name>", "PUT": "/u/me"}, "/u/me", "/u/me"),
    "converters": ({"POST": "/u/<a>", "PUT": "/u/<int:a>"}, "/u/3", "/u/<int:a>"),
    "the path last": ({"POST": "/<path:a>", "PUT": "/<a>/<b>"}, "/u/3", "/<a>/<b>"),
    "the first part": ({"POST": "/<a>/x", "PUT": "/u/<b>"}, "/u/x", "/u/<b>"),
    "as they were added": ({"PUT": "/u/<b>", "DELETE": "/u/<a>"}, "/u/x", "/u/<b>"),
    "of three": ({"PUT": "/<a>/<b>", "POST": "/u/<a>", "DELETE": "/u/x"}, "/u/x", "/u/x"),
    "another path": ({"PUT": "/<a>/<b>", "POST": "/u/<a>", "DELETE": "/u/y"}, "/u/x", "/u/<a>"),
}


@pytest.mark.parametrize(("rules", "path", "first"), TRIED.values(), ids=TRIED)
@pytest.mark.parametrize("order", [*permutations(METHODS)], ids=" ".join)
def test_without_the_method_it_is_the_rule_that_was_tried_first(
    rules: dict[str, str], path: str, first: str, order: tuple[str, ...]
) -> None:
    bound = [Rule(rule, endpoint=rule, methods=[method]) for method, rule in rules.items()]
    assert matched(bound, path, "GET", order) == first


def test_one_rule_of_many_methods() -> None:
    rules = [Rule("/u/<a>", endpoint="u", methods=METHODS), Rule("/u/", endpoint="index")]
    assert matched(rules, "/u/x", "GET", METHODS) == "/u/<a>"
    assert matched(rules, "/u/x", "PUT") == "/u/<a>"
    assert matched(rules, "/nope", "PUT") is None
    assert matched(rules, "/u", "PUT") is None  # a redirect to the path with a slash


@pytest.mark.parametrize("path", ["/u//x", "/u/x//"])
def test_too_many_slashes(path: str) -> None:
    """Werkzeug says 405 as if there were one of each, and redirects where the method fits."""
    ending = "/" if path.endswith("/") else ""
    rules = [Rule(f"/u/<a>{ending}", endpoint="u", methods=METHODS)]
    assert matched(rules, path, "GET", METHODS) == f"/u/<a>{ending}"
    assert matched(rules, path, "PUT", METHODS) is None
    rules = [Rule("/<path:a>", endpoint="any", methods=METHODS)]
    assert matched(rules, path, "GET", METHODS) == "/<path:a>"


def test_a_rule_that_takes_the_method_but_not_the_value() -> None:
    """Werkzeug says 405 of it, for the sake of a rule that it tried before, or 404."""
    rules = [
        Rule("/u/<int(max=5):a>", endpoint="few", methods=["PUT"]),
        Rule("/u/<int(max=7):a>", endpoint="more", methods=["POST"]),
    ]
    assert matched(rules, "/u/6", "POST", METHODS) == "/u/<int(max=7):a>"
    assert matched(rules, "/u/9", "POST", METHODS) is None
    assert matched(rules, "/u/9", "GET", METHODS) is None
