"""The table of commands."""

from __future__ import annotations

import pytest

from commands.programs import run
from prom_middleware import __version__
from prom_middleware.cli import COMMANDS, main


def test_help_names_every_command() -> None:
    for arguments in ((), ("--help",)):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"usage: prom-middleware {name} " in capsys.readouterr().out


def test_version() -> None:
    assert run("--version").stdout == f"prom-middleware {__version__}\n"


@pytest.mark.parametrize("arguments", [("nothing",), ("--nothing",), ("textfile",), ("serve",)])
def test_wrong_arguments(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: prom-middleware" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_imports_no_other() -> None:
    import subprocess
    import sys

    program = (
        "import sys, prom_middleware.cli\n"
        "print([m for m in sys.modules if m.startswith('prom_middleware.commands')])\n"
        "prom_middleware.cli.main(['textfile', '-o', '-', 'prom_middleware'])\n"
        "print('prom_middleware.commands.serve' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("[]", "False"), done.stderr
