"""Exit codes and messages: one line with the cure, a traceback only when asked for."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from admin import logs
from admin.main import Commands, main
from tests.support.brokers import free_port
from tests.support.cli import error, run

GROUPS = {"audit", "meters", "relay", "scl", "mms", "broker", "bridge", "web", "meter", "store"}
COMMANDS = [
    *((name,) for name in Commands.table if name not in GROUPS),
    *(("meters", name) for name in ("list", "show", "retire")),
    *(("relay", name) for name in ("open", "close")),
    *(("scl", name) for name in ("show", "export", "check", "diff")),
    *(("mms", name) for name in ("run", "browse", "read", "operate", "watch", "compare")),
    *(("broker", name) for name in ("run", "config")),
    ("bridge", "run"),
    ("web", "run"),
    *(("web", "user", name) for name in ("add", "list", "remove")),
    *(("meter", name) for name in ("run", "simulate")),
    *(("audit", name) for name in ("show", "verify")),
    *(("store", name) for name in ("maintain", "backup", "restore")),
    *(("dead-letters", name) for name in ("show", "retry", "purge")),
]


def test_version() -> None:
    assert run("--version").stdout == f"meter61850 {version('meter61850')}\n"


def test_help_lists_every_command_and_the_exit_codes() -> None:
    text = run("--help").stdout
    for command in Commands.table:
        assert re.search(rf"^  {command}  ", text, re.MULTILINE), command
    assert "Exit codes: 0 done;" in text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_each_command_has_an_example(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logs, "set_up", lambda _level: None)
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert f"\n  meter61850 {' '.join(command)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ("nonsense",),
        ("up", "--meters", "0"),
        ("up", "--json"),
        ("readings",),
        ("readings", "x", "--csv", "--json"),
        ("readings", "x", "--since", "yesterday"),
        ("relay", "open", "x", "--mqtt", "host:port"),
        ("relay", "open", "x", "--prefix", "a//b"),
        ("broker", "run", "--bind", "0.0.0.0"),
        ("meter", "run", "--config", "/nonexistent/meter.toml"),
        ("mms", "browse", "host:port"),
        ("mms", "watch", "host:port"),
        ("mms", "compare", "town.scd", "127.0.0.1", "--all"),
        ("mms", "watch", "127.0.0.1:1", "--count", "0"),
        ("mms", "compare"),
        ("mms", "read", "127.0.0.1:1", "no reference"),
        ("mms", "read", "127.0.0.1:1", "SMGW001M1/MMXN1.Vol"),
        ("meters", "list", "--database", "no-url"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2_without_traceback(wrong: tuple[str, ...]) -> None:
    done = run(*wrong, code=2)
    assert "Traceback" not in done.stderr
    assert "rror: " in done.stderr
    assert done.stdout == ""


def test_impossible_setting_names_the_key() -> None:
    assert "password_file" in error("broker", "run", "--bind", "0.0.0.0", code=2)


@pytest.mark.parametrize(
    "command", [("meters", "list"), ("readings", "x"), ("commands",), ("dead-letters",)], ids=" ".join
)
def test_no_database_is_exit_4_and_says_what_to_do(command: tuple[str, ...], tmp_path: Path) -> None:
    assert "meter61850 up" in error(*command, code=4, folder=tmp_path)


@pytest.mark.parametrize(
    "command", [("relay", "open", "x"), ("scl", "show"), ("meters", "retire", "x")], ids=" ".join
)
def test_no_broker_is_exit_4_and_says_what_to_do(command: tuple[str, ...]) -> None:
    assert "meter61850 broker run" in error(*command, "--mqtt", f":{free_port()}", code=4)


def test_no_mms_server_is_exit_4() -> None:
    port = free_port()
    assert f"127.0.0.1:{port}" in error("mms", "browse", f"127.0.0.1:{port}", code=4)


def test_traceback_only_with_debug() -> None:
    done = run("--debug", "scl", "check", "/nonexistent.scd", code=3)
    assert "Traceback" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].startswith("error: ")


def test_password_in_a_database_url_is_not_told() -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/x"
    done = run("--debug", "meters", "list", "--database", url, code=4)
    last = done.stderr.rstrip().splitlines()[-1]
    assert "hunter2" not in last


def test_scl_check_tells_line_and_cure_and_ends_with_1(tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.scd"
    faulty.write_text("<SCL>\n")
    done = run("scl", "check", str(faulty), code=1)
    assert re.search(r"line \d+: .*cure: ", done.stdout)
    assert "1 errors" in done.stderr


def test_scl_diff_tells_what_differs_and_ends_with_1(tmp_path: Path) -> None:
    clean = Path(__file__).parents[1] / "unit" / "scl_faults" / "clean.scd"
    other = tmp_path / "other.scd"
    other.write_text(clean.read_text().replace(">PZ0001<", ">PZ0002<"))
    assert run("scl", "diff", str(clean), str(clean)).stdout == ""
    done = run("scl", "diff", str(clean), str(other), code=1)
    says = 'SM_3f2504e04f8941d39a0c0305e82c3301 "House 1"'
    assert done.stdout == f"SMGW001: {says}: LPHD1.PhyNam.serNum changed from PZ0001 to PZ0002\n"
    assert "1 differences" in done.stderr
    (change,) = json.loads(run("scl", "diff", str(clean), str(other), "--json", code=1).stdout)
    assert (change["ied"], change["device"]) == ("SMGW001", says)
    other.write_text("<html/>")
    assert str(other) in error("scl", "diff", str(clean), str(other), code=2)


def test_missing_file_is_exit_3() -> None:
    assert "/nonexistent.scd" in error("scl", "check", "/nonexistent.scd", code=3)


def test_broker_config_is_the_committed_file() -> None:
    committed = Path(__file__).parents[2] / "mosquitto.conf"
    assert run("broker", "config").stdout == committed.read_text()
