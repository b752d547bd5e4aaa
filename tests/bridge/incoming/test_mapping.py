"""Rules in statsd_exporter's YAML: examples of its documentation, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.incoming.sending import received, sample
from prom_middleware.bridge import load_mapping
from prom_middleware.bridge.incoming.mapping import Globs, Rule
from prom_middleware.bridge.incoming.mapping_file import parse_mapping
from prom_middleware.errors import MappingError

DOCUMENTED = r"""
mappings:
- match: "test.dispatcher.*.*.*"
  name: "dispatcher_events_total"
  labels:
    processor: "$1"
    action: "$2"
    outcome: "$3"
    job: "test_dispatcher"
- match: "*.signup.*.*"
  name: "signup_events_total"
  labels:
    provider: "$2"
    outcome: "$3"
    job: "${1}_server"
- match: "test.*.*.counter"
  name: "${2}_total"
  labels:
    provider: "$1"
- match: "regex\\.(\\w+)\\.(?P<what>\\w+)\\.counter"
  match_type: regex
  name: "${2}_total"
  labels:
    provider: "$1"
    named: "$what"
    none: "$9"
"""


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (
            "test.dispatcher.FooProcessor.send.success:1|c",
            sample(
                "dispatcher_events_total",
                processor="FooProcessor",
                action="send",
                outcome="success",
                job="test_dispatcher",
            ),
        ),
        (
            "foo_product.signup.facebook.failure:1|c",
            sample(
                "signup_events_total",
                provider="facebook",
                outcome="failure",
                job="foo_product_server",
            ),
        ),
        ("test.web-server.foo.bar:1|c", sample("test_web_server_foo_bar_total")),
        ("test.a.b.counter:1|c", sample("b_total", provider="a")),
        ("regex.a.b.counter:1|c", sample("b_total", provider="a", named="b", none="")),
    ],
    ids=["dispatcher", "signup", "unmapped", "name", "regex"],
)
def test_the_examples_of_the_documentation(
    line: str, key: tuple[str, frozenset[tuple[str, str]]]
) -> None:
    assert received(line, mapping=DOCUMENTED) == ({key: 1}, {})


def test_observations_are_what_the_rule_says() -> None:
    mapping = """
defaults:
  observer_type: histogram
  histogram_options: {buckets: [0.1, 1]}
mappings:
- {match: "a.*", name: a, labels: {of: $1}}
- match: "b.*"
  name: b
  observer_type: summary
  summary_options:
    quantiles: [{quantile: 0.5, error: 0.05}]
    max_summary_age: 30s
    summary_age_buckets: 3
    stream_buffer_size: 9
- {match: "c.*", name: c, timer_type: histogram, buckets: [5]}
"""
    samples, _ = received("a.x:500|ms", "b.x:2|h", "c.x:1|d", "d:0.05|h", mapping=mapping)
    assert samples == {
        sample("a_bucket", of="x", le="0.1"): 0,
        sample("a_bucket", of="x", le="1.0"): 1,
        sample("a_bucket", of="x", le="+Inf"): 1,
        sample("a_count", of="x"): 1,
        sample("a_sum", of="x"): 0.5,
        sample("b", quantile="0.5"): 2,
        sample("b_count"): 1,
        sample("b_sum"): 2,
        sample("c_bucket", le="5.0"): 1,
        sample("c_bucket", le="+Inf"): 1,
        sample("c_count"): 1,
        sample("c_sum"): 1,
        sample("d_bucket", le="0.1"): 1,
        sample("d_bucket", le="1.0"): 1,
        sample("d_bucket", le="+Inf"): 1,
        sample("d_count"): 1,
        sample("d_sum"): 0.05,
    }


def test_drop_scale_types_and_labels() -> None:
    mapping = """
mappings:
- {match: "a.*", action: drop, match_metric_type: gauge}
- {match: "a.*", name: mapped, scale: 0.5, labels: {tag: rule, le: x}}
- {match: "b.*", name: honored, honor_labels: true, labels: {tag: rule}}
- {match: ".", match_type: regex, action: drop, name: dropped}
"""
    samples, lost = received(
        "a.x:1|g", "a.x:1|c|#tag:own", "b.x:1|c|#tag:own", "other:1|c", mapping=mapping
    )
    assert samples == {
        sample("mapped_total", tag="rule", le="x"): 0.5,
        sample("honored_total", tag="own"): 1,
    }
    assert not lost


def test_a_scale_neither_lowers_a_sum_nor_spoils_it() -> None:
    mapping = """
mappings:
- {match: turned, name: a, scale: -1}
- {match: "*.large", name: "$1", scale: 1.0e+200}
"""
    samples, lost = received(
        *("turned:0|c", "turned:5|c", "b.large:1|c", "b.large:1e200|c"),
        *("c.large:1|h", "c.large:1e200|h", "d.large:1e200|g"),
        mapping=mapping,
    )
    assert samples[sample("a_total")] == 0
    assert samples[sample("b_total")] == samples[sample("c_sum")] == 1e200
    assert samples[sample("c_count")] == 1
    assert samples[sample("d")] == float("inf"), "a gauge may be"
    assert lost == {"illegal_negative_counter": 1, "malformed_value": 2}


def test_a_name_that_a_rule_empties_is_counted() -> None:
    assert received("a.x:1|c", mapping='mappings: [{match: "a.*", name: "$2"}]') == (
        {},
        {"empty_metric_name": 1},
    )


ORDERS = [("a.*", "first"), ("a.b", "second"), ("*.b", "third")]


@pytest.mark.parametrize(("disabled", "expected"), [("false", "first"), ("true", "second")])
def test_the_first_glob_wins_unless_ordering_is_disabled(disabled: str, expected: str) -> None:
    rules = ", ".join(f'{{match: "{match}", name: {name}}}' for match, name in ORDERS)
    mapping = f"{{defaults: {{glob_disable_ordering: {disabled}}}, mappings: [{rules}]}}"
    assert list(received("a.b:1|g", mapping=mapping)[0]) == [sample(expected)]


@given(st.lists(st.lists(st.sampled_from("ab*"), min_size=1, max_size=4), max_size=6))
def test_globs_are_found_as_one_by_one(globs: list[list[str]]) -> None:
    found = Globs(ordered=True)
    for place, words in enumerate(globs):
        found.add(Rule(".".join(words), name=str(place)), place)
    for name in (["a"], ["a", "b"], ["b", "a", "b"], ["*", "a", "c", "b"]):
        fitting = [
            place
            for place, words in enumerate(globs)
            if len(words) == len(name)
            and all(word in ("*", own) for word, own in zip(words, name, strict=True))
        ]
        got = found.find(name, "counter")
        assert (got and int(got[0].name)) == (fitting[0] if fitting else None)


def test_a_series_of_ttl_is_gone_after_it() -> None:
    rules = parse_mapping("defaults: {ttl: 1h1m1.5s}\nmappings: [{match: a, name: a, ttl: 20ms}]")
    assert rules.default.ttl == 3661.5
    found = rules.find("a", "gauge")
    assert found
    assert found.rule.ttl == pytest.approx(0.02)


REFUSED = {
    "[": "mapping: ",
    "3": "mapping: 3 is no mapping",
    "mappings: {}": "mapping: mappings: {}: a list is wanted",
    "mappings: [3]": "mapping 1: 3 is no mapping",
    "mappings: [{match: a}]": "mapping 1: name: a mapping needs the name",
    "mappings: [{match: 'a*', name: a}]": "mapping 1: match: 'a*': a star stands for",
    "mappings: [{match: 'a..b', name: a}]": "mapping 1: match: 'a..b'",
    "mappings: [{match: a, name: a-b}]": "mapping 1: name: 'a-b'",
    "mappings: [{match: '(', match_type: regex, name: a}]": "mapping 1: match: '(' is no regular",
    "mappings: [{match: a, name: a, match_type: gl}]": "mapping 1: match_type: 'gl': one of",
    "mappings: [{match: a, name: a, labels: {__a: b}}]": "mapping 1: labels: ",
    "mappings: [{match: a, name: a, ttl: 60}]": "mapping 1: ttl: 60: a text is wanted",
    "mappings: [{match: a, name: a, ttl: 1x}]": "mapping 1: ttl: '1x': no duration",
    "mappings: [{match: a, name: a, buckets: [2, 1]}]": "mapping 1: buckets: [2, 1]: rising",
    "mappings: [{match: a, name: a, scale: x}]": "mapping 1: scale: 'x'",
    "mappings: [{match: a, name: a, scale: .nan}]": "mapping 1: scale: nan: a finite number",
    "defaults: {ttl: 2001-13-45}": "mapping: month must be in 1..12",
    f"defaults: {{ttl: 1{'0' * 5000}}}": "mapping: ",
    "[" * 3000: "mapping: maximum recursion depth exceeded",
    "defaults: {quantiles: [{quantile: 2}]}": "mapping: defaults: quantiles: ",
    "defaults: {quantiles: [{}]}": "mapping: defaults: quantiles: ",
    "defaults: {histogram_options: 3}": "mapping: defaults: histogram_options: 3 is no mapping",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:80])
def test_what_is_wrong_is_said_with_its_place(text: str) -> None:
    with pytest.raises(MappingError) as raised:
        parse_mapping(text)
    assert str(raised.value).startswith(REFUSED[text])


def test_a_file_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("mappings: 3")
    with pytest.raises(MappingError, match=r"rules\.yml: mappings"):
        load_mapping(path)
    path.write_bytes(b"# caf\xe9")
    with pytest.raises(MappingError, match=r"rules\.yml: 'utf-8' codec can't decode"):
        load_mapping(path)


def test_unknown_keys_do_nothing_but_are_told(caplog: pytest.LogCaptureFixture) -> None:
    parse_mapping("mappings: [{match: a, name: a, colour: red}]")
    assert "mapping 1: colour is not known" in caplog.text
