"""What the command line says: exit codes, logs without secrets, tables that strangers cannot bend."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

import pytest
from rich.console import Console

from admin.exits import ExitCode, NoAnswerError, NotFoundError, RefusedError, exit_code, root_cause
from admin.logs import KeyValueFormatter, redacted
from admin.output import line, note, print_json, show
from admin.tables import Row, cell, table
from bridge.store.meter_names import UnknownMeterError
from broker.contract.errors import (
    ConfigurationError,
    ContractError,
    Meter61850Error,
    PortTakenError,
    UnavailableError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), ExitCode.USAGE),
        (NotFoundError("x"), ExitCode.NOT_FOUND),
        (UnknownMeterError("x"), ExitCode.NOT_FOUND),
        (UnavailableError("x"), ExitCode.UNAVAILABLE),
        (PortTakenError(1, "--port"), ExitCode.UNAVAILABLE),
        (RefusedError("x"), ExitCode.REFUSED),
        (NoAnswerError("x"), ExitCode.NO_ANSWER),
        (ContractError("x"), ExitCode.FAILURE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_each_error_has_its_code(error: BaseException, code: ExitCode) -> None:
    assert exit_code(error) is code


def test_our_error_is_found_in_a_group_of_groups() -> None:
    cause = UnavailableError("no broker")
    group = ExceptionGroup("a", [ValueError("x"), ExceptionGroup("b", [cause])])
    assert root_cause(group) is cause


def test_group_without_an_error_of_ours_gives_its_first() -> None:
    first = ValueError("x")
    assert root_cause(ExceptionGroup("a", [first, TypeError("y")])) is first
    assert not isinstance(root_cause(ExceptionGroup("a", [first])), Meter61850Error)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://user:hunter2@db/name", "postgresql://user:***@db/name"),
        ("mqtt_password='hunter2' next", "mqtt_password=*** next"),
        ('{"token": "hunter2", "a": 1}', '{"token": ***, "a": 1}'),
        ("SECRET=hunter2", "SECRET=***"),
        ("broker 127.0.0.1:1883: refused", "broker 127.0.0.1:1883: refused"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert redacted(text) == shown


def logged(message: str, *arguments: object, **extra: object) -> str:
    """The line that is logged."""
    record = logging.makeLogRecord(
        {
            "name": "bridge.run",
            "levelname": "WARNING",
            "msg": message,
            "args": arguments,
            "created": 1_795_435_200.25,
        }
        | extra
    )
    return KeyValueFormatter().format(record)


def test_log_line_is_key_value() -> None:
    line = logged("stored %d readings", 7, batch=3, lag_ms=12.5)
    assert line == (
        "ts=2026-11-23T12:00:00.250Z level=warning logger=bridge.run "
        'msg="stored 7 readings" batch=3 lag_ms=12.5'
    )


def test_log_line_hides_secrets_wherever_they_stand() -> None:
    line = logged("connect to mqtt://me:hunter2@host", password="hunter2", url="postgresql://me:hunter2@db/x")
    assert "hunter2" not in line
    assert line.count("***") == 3


def test_log_line_stays_one_line() -> None:
    try:
        raise ValueError("first\nsecond password=hunter2")
    except ValueError as error:
        line = logged("a\nb", exc_info=(type(error), error, error.__traceback__))
    assert "\n" not in line
    assert "hunter2" not in line
    assert 'msg="a\\nb"' in line


HOSTILE = "\x1b[2J\x9b31m\x7f\x85\u202eabc\u2066\u200b\u2028\ufeff\ud800\U000e0041"
"""Escape sequences of C0 and C1, marks of direction and without width, separators, half a pair."""


@pytest.mark.parametrize("message", [HOSTILE, HOSTILE[3:], "a\x9bb", "a\u202eb", "House\u200b7", "\ufeff"])
def test_what_is_not_printable_is_escaped_in_logs(message: str) -> None:
    try:
        raise ValueError(message)
    except ValueError as error:
        told = logged(message, name_of=message, exc_info=(type(error), error, error.__traceback__))
    assert told.isprintable()
    (msg,) = re.findall(r' msg=("(?:[^"\\]|\\.)*")', told)
    assert json.loads(msg) == message


def test_what_is_not_printable_is_escaped_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({HOSTILE: [HOSTILE]})
    out = capsys.readouterr().out
    assert out.removesuffix("\n").isprintable()
    assert json.loads(out) == {HOSTILE: [HOSTILE]}


def test_what_is_not_printable_is_neither_noted_nor_shown(capsys: pytest.CaptureFixture[str]) -> None:
    note(f"error: {HOSTILE}\nsecond line")
    line(HOSTILE + "\nforged")
    show([{"name": HOSTILE}], as_json=False)
    out, err = capsys.readouterr()
    assert (out + err).replace("\n", "").isprintable()
    assert "\nsecond line" in err
    assert "\nforged" not in out


def rendered(rows: list[Row]) -> str:
    """The table as plain text."""
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(table(rows))
    return capture.get()


def test_names_are_neither_markup_nor_control_codes() -> None:
    text = rendered([{"name": "[red]House[/red] \x1b[2J\x07"}])
    assert "[red]House[/red] �[2J�" in text


def test_numbers_stand_to_the_right() -> None:
    lines = rendered([{"a": "x", "power": 1.5}, {"a": "y", "power": None}]).splitlines()
    assert lines[1].endswith("  1.5")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (231.04, "231.04"),
        (38795293.0, "38795293"),
        (0.191, "0.191"),
        (3, "3"),
    ],
)
def test_cells(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_json_has_the_contracts_times_and_every_letter(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"ts": datetime(2026, 11, 23, 12, tzinfo=UTC), "name": "Käthe", "power": None}])
    out = capsys.readouterr().out
    assert json.loads(out) == [{"ts": "2026-11-23T12:00:00.000Z", "name": "Käthe", "power": None}]
    assert "Käthe" in out
