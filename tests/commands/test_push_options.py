"""What `push` makes of its options, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from prom_middleware.cli import main
from prom_middleware.commands import children, push
from prom_middleware.errors import OptionError

GIVEN = ["push", "--gateway=localhost", "--job=j"]
DEFAULTS = {
    "retries": 3,
    "timeout": 30.0,
    "deadline": 60.0,
    "compression": None,
    "basic_auth": None,
    "bearer_token": None,
    "ssl_context": None,
}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ([], {}),
        (["--retries=1"], {"retries": 1}),
        (["--timeout=2"], {"timeout": 2.0}),
        (["--deadline=4"], {"deadline": 4.0}),
        (["--compression=snappy"], {"compression": "snappy"}),
        (["--ca-file=a"], {"ssl_context": ("a", None, None)}),
        (["--cert-file=b", "--key-file=c"], {"ssl_context": (None, "b", "c")}),
        (["--username=joe", "--password-file=secret"], {"basic_auth": ("joe", " of a file ")}),
        (["--bearer-token-file=secret"], {"bearer_token": " of a file "}),
    ],
    ids=str,
)
def test_each_option_is_the_one_that_it_is_named_for(
    options: list[str], changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[str, Any]] = []

    def delivery(*given: Any) -> NoReturn:
        asked.append(given[-1])
        raise OptionError("this is enough")

    (tmp_path / "secret").write_bytes(b" of a file \r\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(push, "Delivery", delivery)
    monkeypatch.setattr(push, "tls_context", lambda *files: files)
    with pytest.raises(SystemExit):
        main([*GIVEN, *options])
    assert asked == [{**DEFAULTS, **changed}]


def test_a_file_is_meant_rather_than_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("of a file")
    monkeypatch.setenv(push.TOKEN, "of the environment")
    monkeypatch.chdir(tmp_path)
    assert push._secret("secret", push.TOKEN) == "of a file"


def test_a_password_needs_a_username(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(push.PASSWORD, "hush")
    with pytest.raises(SystemExit) as left:
        main(GIVEN)
    assert left.value.code == 2
    assert "a password a username" in capsys.readouterr().err


def test_a_command_sees_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[str, str]] = []

    def child(command: list[str], environment: Mapping[str, str]) -> NoReturn:
        seen.append(environment)
        raise KeyboardInterrupt

    monkeypatch.setenv(push.TOKEN, "hush")
    monkeypatch.setattr(children, "Child", child)
    assert main([*GIVEN, "--run", "true"]) == 1
    assert push.TOKEN not in seen[0]
