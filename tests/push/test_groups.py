"""Where a group is: the URL for a job and its grouping key."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_middleware.errors import OptionError
from prom_middleware.push.groups import locate

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.from_regex(r"(?!job$)(?!__)[a-zA-Z_][a-zA-Z0-9_]*", fullmatch=True)


@pytest.mark.parametrize(
    ("job", "key", "path"),
    [
        ("j", None, "/metrics/job/j"),
        ("j", {"b": 1, "a": "x"}, "/metrics/job/j/a/x/b/1"),
        ("a/b c", {}, "/metrics/job@base64/YS9iIGM="),
        ("j", {"instance": ""}, "/metrics/job/j/instance@base64/="),
        ("j", {"instance": "host:91"}, "/metrics/job/j/instance/host%3A91"),
        ("j", {"path": ".."}, "/metrics/job/j/path@base64/Li4="),
        ("50%", {}, "/metrics/job/50%25"),
    ],
)
def test_paths(job: str, key: dict[str, object] | None, path: str) -> None:
    assert locate("host:9091", job, key).url == f"http://host:9091{path}"


@pytest.mark.parametrize(
    ("gateway", "base"),
    [
        ("host", "http://host"),
        ("host:9091/", "http://host:9091"),
        ("HTTPS://host", "https://host"),
        ("https://host/behind/this//", "https://host/behind/this"),
        ("[::1]:9091", "http://[::1]:9091"),
        ("http://joe:a%40b@host:1", "http://host:1"),
    ],
)
def test_gateways(gateway: str, base: str) -> None:
    assert locate(gateway, "j", None).url == f"{base}/metrics/job/j"


def test_who_is_to_enter() -> None:
    assert locate("http://joe:a%40b@host:1", "j", None).user == ("joe", "a@b")
    assert locate("http://joe@host:1", "j", None).user == ("joe", "")
    assert locate("http://host:1", "j", None).user is None


@given(job=TEXTS.filter(len), key=st.dictionaries(NAMES, TEXTS, max_size=4))
def test_every_group_can_be_read_back(job: str, key: dict[str, str]) -> None:
    url = locate("host:9091", job, key).url
    parts = urlsplit(url)
    assert url.isascii()
    assert (parts.netloc, parts.query, parts.fragment) == ("host:9091", "", "")
    _, metrics, *segments = parts.path.split("/")
    assert metrics == "metrics"
    assert len(segments) == 2 * (1 + len(key))
    assert not {"", ".", ".."} & set(segments), "a server or a proxy would take them away"
    read = [decoded(*pair) for pair in zip(segments[::2], segments[1::2], strict=True)]
    assert read == [("job", job), *sorted(key.items())]


def decoded(name: str, value: str) -> tuple[str, str]:
    name, base64, _ = name.partition("@base64")
    if base64:
        return name, urlsafe_b64decode("" if value == "=" else value).decode()
    return name, unquote(value)


@pytest.mark.parametrize("name", ["", "a-b", "1a", "__a", "job", "ä", "a@base64", "a\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(OptionError, match="grouping_key"):
        locate("host", "j", {name: "x"})
