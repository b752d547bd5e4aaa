"""Regular expressions: what matches, what is refused, and that nothing explodes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_middleware.exposition.refusals import SelectorError
from prom_middleware.exposition.selection import automaton
from prom_middleware.exposition.selection.automaton import matcher


def patterns() -> st.SearchStrategy[str]:
    """Return patterns that Python's `re` and RE2 read alike."""
    atoms = st.sampled_from(
        ["a", "b", "c", ".", "[ab]", "[^a]", r"\d", r"\W", "", "(?:ab)", "[a-c1]"]
    )

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map("(?:{0[0]}|{0[1]})".format),
            st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,}", "*?"])).map(
                "(?:{0[0]}){0[1]}".format
            ),
            inner.map("({})".format),
            inner.map("^{}$".format),
        )

    return st.recursive(atoms, grown, max_leaves=8)


@given(patterns(), st.text("abc1\n", max_size=8))
def test_the_same_matches_as_in_python(pattern: str, text: str) -> None:
    # `$` is before a last line break as well in Python, and not in RE2.
    theirs = re.compile(pattern.replace("$", r"\Z"), re.DOTALL | re.ASCII)
    assert matcher(pattern)(text) is (theirs.fullmatch(text) is not None)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("foo|bar", ["foo", "bar"], ["", "foobar", "fo"]),
        ("foo.*", ["foo", "foo\nbar"], ["xfoo"]),
        ("(?i)get", ["GET", "gEt"], ["GE"]),
        ("a(?i:b)c", ["abc", "aBc"], ["ABC"]),
        ("a(?-s:.)b", ["axb"], ["a\nb"]),
        # As RE2 has it, and not as Python: by Unicode's simple case folding.
        ("(?i)\u00b5", ["\u03bc", "\u039c"], ["\u00b5\u03bc"]),
        ("(?i)\u03c3", ["\u03c2", "\u03a3"], ["s"]),
        ("(?i)k", ["K", "\u212a"], []),
        ("(?i)[a-k]", ["K", "\u212a"], ["\u0130", "\u0131"]),
        ("(?i)[^s]", ["t"], ["S", "\u017f"]),
        ("(?i)i", ["I"], ["\u0131", "\u0130"]),
        ("(?i)\u0131", ["\u0131"], ["I", "i"]),
        ("(?i)\u01c4", ["\u01c5", "\u01c6"], []),
        ("(?i)\u1f80", ["\u1f88"], []),
        ("(?P<name>a)(?<other>b)", ["ab"], ["a"]),
        (r"\Qa.b*\E+", ["a.b*", "a.b**"], ["axb"]),
        (r"[[:alpha:][:^space:]]+", ["az", "1"], [" "]),
        (r"[]a-]+", ["]", "-a"], ["b"]),
        (r"[\d\-x]+", ["1-x"], ["y"]),
        (r"\p{Lu}\pL\P{L}", ["ÄB1", "AB "], ["aB1"]),
        (r"\x41\x{1F600}\101\n", ["A\N{GRINNING FACE}A\n"], ["A"]),
        ("x{,2}", ["x{,2}"], ["xx"]),
        ("x{2", ["x{2"], ["xx"]),
        (r"\Aab\z", ["ab"], ["a"]),
        ("a$b", [], ["a", "ab", "a$b"]),
        ("(?P<1>a)(?i-s)b", ["ab", "aB"], ["A"]),
        ("(a{10}){100}", ["a" * 1000], ["a" * 999]),
        ("((a{1000}){0}b){3}", ["bbb"], ["a"]),
        ("a{1000}", ["a" * 1000], ["a" * 999, "a" * 1001]),
        ("a{01}a{0}", ["a{01}"], ["aa", "a"]),
        (r"\p{LC}", ["A", "a", "\u01c5"], ["\u01c0", "1"]),
        ("", [""], ["a"]),
    ],
)
def test_the_syntax(pattern: str, matching: list[str], others: list[str]) -> None:
    accepts = matcher(pattern)
    assert [text for text in matching if not accepts(text)] == []
    assert [text for text in others if accepts(text)] == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(a", "a closing ) is missing"),
        ("a)", "unexpected )"),
        ("[a", "a closing ] is missing"),
        ("*", "nothing to repeat"),
        ("a**", "needs brackets"),
        ("a{1000}{1000}", "needs brackets"),
        ("(a{1000}){1000}", "too large"),
        ("((((((a{9}){9}){9}){9}){9}){9})", "too large"),
        ("(a|b){1000}" * 3, "too large"),
        ("a{1001}", "no count"),
        ("a{99999999999999999999}", "no count"),
        ("a{2,1}", "no count"),
        ("(" * 500, "groups within groups"),
        ("(?=a)", "(?= is not supported"),
        ("(?<!a)", "is not supported"),
        (r"\b", r"\b is not supported"),
        (r"(a)\8", r"\8 is not supported"),
        (r"\p{Greek}", "is not supported"),
        ("[[:no:]]", "is no class"),
        ("[b-a]", "goes backwards"),
        ("a\\", "a backslash at the end"),
        (r"\x{110000}", "no character"),
        ("(?P<\u00e9>a)", "other characters"),
        ("(?P<>a)", "other characters"),
        ("(?i-)a", "no flag after (?-"),
        ("(?-:a)", "no flag after (?-"),
        ("(a{100}){11}", "more than 1000 repetitions"),
        ("((a{10,}|b){10}){0,11}", "more than 1000 repetitions"),
    ],
)
def test_what_is_refused_is_told(pattern: str, words: str) -> None:
    with pytest.raises(SelectorError) as caught:
        matcher(pattern)
    assert words in str(caught.value)
    assert caught.value.status == 400


@given(st.text("ab(|)*+?{}[]^$\\,1-:.", max_size=30), st.text("ab", max_size=5))
def test_whatever_comes_is_a_matcher_or_a_refusal(pattern: str, text: str) -> None:
    try:
        accepts = matcher(pattern)
    except SelectorError:
        return
    assert accepts(text) in (True, False)


EXPLOSIVE = ["(a+)+$", "(a|a)*b", "(a*)*b", "(a|aa)+$", "(.*a){20}", "(x+x+)+y", "(a?){200}a{200}"]


@pytest.mark.parametrize("pattern", EXPLOSIVE)
def test_the_work_is_linear_in_the_text(pattern: str) -> None:
    """Counted, not timed: a backtracking matcher would not come back from any of these."""

    def work(length: int) -> int:
        one = matcher(pattern)
        assert isinstance(one, automaton.Automaton)
        one("a" * length + "!")
        return one.work

    assert work(20_000) < 15 * work(2000) + 1000


def test_what_costs_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton, "MAX_WORK", 10_000)
    accepts = matcher("(a|b)*a(a|b){200}")
    texts = [format(number, "0300b").replace("0", "a").replace("1", "b") for number in range(99)]
    with pytest.raises(SelectorError, match="costs too much"):
        list(map(accepts, texts))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton, "MAX_REMEMBERED", 16)
    accepts = matcher("[a-z]+[0-9]")
    for number in range(200):
        assert accepts(f"{'abcdefghij' * (number % 7)}x{number % 10}")
    assert isinstance(accepts, automaton.Automaton)
    assert len(accepts._moves) + len(accepts._known) <= 32
