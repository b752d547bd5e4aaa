"""PromQL's series selectors: what they read, and what they say of what they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.selection.selectors import parse_selector


def read(text: str) -> list[tuple[str, str, str]]:
    return [(one.label, one.operator, one.value) for one in parse_selector(text).matchers]


@pytest.mark.parametrize(
    ("text", "matchers"),
    [
        ("up", [("__name__", "=", "up")]),
        (" a:b_1 { } ", [("__name__", "=", "a:b_1")]),
        ('up{a="b"}', [("__name__", "=", "up"), ("a", "=", "b")]),
        (
            """up{a!='b',c=~"d|e" , f!~`g\\d`,}""",
            [("__name__", "=", "up"), ("a", "!=", "b"), ("c", "=~", "d|e"), ("f", "!~", "g\\d")],
        ),
        ('{__name__=~"a.+"}', [("__name__", "=~", "a.+")]),
        ('{"a.b"}', [("__name__", "=", "a.b")]),
        ('{"a.b", "l x"="y"}', [("__name__", "=", "a.b"), ("l x", "=", "y")]),
        (r'{a="\"\\\n\t\x41\101\u00e9\U0001F600"}', [("a", "=", '"\\\n\tAA\u00e9\U0001f600')]),
        (r"{a='\''}", [("a", "=", "'")]),
        # Bytes, as in Go: several of them are a character of UTF-8, or what is none.
        (r'{a="\303\251\xc3\xA9",b=`\xc3`}', [("a", "=", "\u00e9\u00e9"), ("b", "=", r"\xc3")]),
        (r'{a="x\xe9y"}', [("a", "=", "x\udce9y")]),
        ("{a=`\\n`}", [("a", "=", "\\n")]),
        ('{a="x",a!="y"}', [("a", "=", "x"), ("a", "!=", "y")]),
        (
            '# one\nup # two\r{ # three }\n a # four\n="#"} # five',
            [("__name__", "=", "up"), ("a", "=", "#")],
        ),
        ('sum{on="1",inf="2"}', [("__name__", "=", "sum"), ("on", "=", "1"), ("inf", "=", "2")]),
        ('{"on"}', [("__name__", "=", "on")]),
        ("{a=`b\nc\"'`}", [("a", "=", "b\nc\"'")]),
    ],
)
def test_what_is_read(text: str, matchers: list[tuple[str, str, str]]) -> None:
    assert read(text) == matchers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least"),
        ("{}", "at least"),
        ('{a=""}', "at least"),
        ('{a=~".*"}', "at least"),
        ('{a!="x"}', "at least"),
        ("up{", "a label's name (at character 4)"),
        ("up{a}", "expected =, !=, =~ or !~ (at character 5)"),
        ("up{a=}", "a string in quotes (at character 6)"),
        ('up{a="b}', 'no closing " (at character 6)'),
        ('up{a="b"', "expected , or } (at character 9)"),
        ('up{a="b" c="d"}', "expected , or } (at character 10)"),
        ("up[5m]", "unexpected '[' (at character 3)"),
        ("up offset 5m", "unexpected 'o'"),
        ("1up", "unexpected '1'"),
        (r'up{a="\q"}', "an escape that is none"),
        (r'up{a="\ud800"}', "is no character"),
        (r'up{a="\400"}', "is no character"),
        (r'up{a="\'"}', "an escape that is none"),
        (r"up{a='\"'}", "an escape that is none"),
        ('up{a="b\nc"}', 'no closing " (at character 6)'),
        ("up{a='b\n'}", "no closing ' (at character 6)"),
        ("#up", "at least"),
        ("on", "'on' is a word of PromQL"),
        ("Bool{a='b'}", "'Bool' is a word of PromQL"),
        ("INF", "'INF' is a word of PromQL"),
        (r'up{a="\UFFFFFFFF"}', "is no character"),
        ('up{a=~"("}', "a closing ) is missing"),
        ('up{__name__="down"}', "the name is given twice"),
        ('{"up","down"}', "the name is given twice"),
        ('up{a:b="c"}', "expected =, !="),
        ("x" * 5000, "more than 4096 characters"),
        ("up{" + 'a="b",' * 60 + "}", "more than 50 matchers"),
    ],
)
def test_what_is_refused_is_told(text: str, words: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_selector(text)
    assert words in str(caught.value)
    assert "match[]" in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.text("up{}a=~!\"'`,\\ \n(x", max_size=25))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    try:
        selector = parse_selector(text)
    except SelectorError:
        return
    assert not (selector.accepts_name("") and selector.accepts_labels({}))


@pytest.mark.parametrize(
    "text",
    [
        '{__name__=~".*"}',
        '{__name__!="h"}',
        '{a!~"x"}',
        '{a=""}',
        '{a=~""}',
        'up{__name__="up"}',
    ],
)
def test_a_federated_selector_may_select_nearly_everything(text: str) -> None:
    with pytest.raises(SelectorError):
        parse_selector(text)
    assert parse_selector(text, federated=True).accepts_name("up")


@pytest.mark.parametrize("text", ["", "{}", "# all\n{ }", " { , } ", "# up"])
def test_a_federated_selector_is_one_at_least(text: str) -> None:
    with pytest.raises(SelectorError, match=r"at least|a label's name"):
        parse_selector(text, federated=True)


def test_a_label_that_is_missing_is_empty() -> None:
    selector = parse_selector('up{a="",b!="",c=~"x?",d!~".+"}')
    assert selector.accepts_labels({"b": "1"})
    assert selector.accepts_labels({"b": "1", "c": "x", "e": "other"})
    assert not selector.accepts_labels({})
    assert not selector.accepts_labels({"b": "1", "d": "1"})


@given(st.text(max_size=20))
def test_every_value_can_be_written(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert read(f'up{{a="{quoted}"}}')[1] == ("a", "=", value)
