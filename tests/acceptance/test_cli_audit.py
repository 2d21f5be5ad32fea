"""The audit from the command line: what the real chain put into it, shown, verified, and found broken."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from bridge.store.audit import Event, Kind, record
from tests.support import cli
from tests.support.bridges import Client
from tests.support.brokers import Broker
from tests.support.chain import chain, until
from tests.support.databases import migrated


def test_a_command_from_the_cli_to_the_audit(broker: Broker, tmp_path: Path) -> None:
    with chain(broker, tmp_path) as running:
        running.simulate(1)
        (meter_id,) = running.wait_for_meters(1)
        store = ("--database", running.url)
        running.cli("relay", "open", meter_id, "--wait", "--mqtt", running.mqtt)
        rows: list[dict[str, Any]] = until(
            lambda: found if len(found := running.cli_json("audit", "show", *store)) == 2 else [],
            why="issued and ended",
        )
        issued, ended = rows
        assert (issued["event"], ended["event"]) == ("command-issued", "command-ended")
        assert issued["who"] == ended["who"]
        assert issued["who"].startswith("maintenance ")
        assert issued["origin"].startswith("cli ")
        assert (ended["origin"], ended["outcome"]) == (f"sm/v1/{meter_id}/result", "done")
        assert issued["detail"]["position"] == "open"
        expected = f"2:{ended['hash']}"
        with Client(broker) as client:
            status = "sm/v1/service/bridge/status"
            until(
                lambda: json.loads(client.latest.get(status, b"{}")).get("audit_head") == expected,
                why="head is told",
            )
        file = Path(f"{running.database}.audit-head")
        until(lambda: file.is_file() and file.read_text().strip() == expected, why="head is remembered")
        whole = running.cli_json("audit", "verify", *store)
        assert whole == {"rows": 2, "head": expected, "compared_with": 1}


def filled(folder: Path, rows: int) -> str:
    """A database with so many rows of audit, each by another one."""
    url = f"sqlite:///{folder / 'meter.sqlite'}"
    engine = migrated(url)
    record(
        engine,
        *(Event(Kind.RIGHTS_CHANGED, who=f"anna {n}", identity="op", detail={"n": n}) for n in range(rows)),
    )
    engine.dispose()
    return url


def tamper(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "meter.sqlite")) as connection:
        for statement in ("DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete", *statements):
            connection.execute(statement)
        connection.commit()


def test_show_filters_and_streams(tmp_path: Path) -> None:
    url = filled(tmp_path, 2500)
    assert len(cli.answer("audit", "show", "--database", url)) == 50
    assert len(cli.answer("audit", "show", "--database", url, "--since", "1h")) == 2500
    assert cli.answer("audit", "show", "--database", url, "--until", "2026-01-01") == []
    (row,) = cli.answer("audit", "show", "--database", url, "--who", "anna 77", "--tail", "1")
    assert (row["no"], row["who"], row["detail"]) == (780, "anna 779", {"n": 779})
    assert cli.answer("audit", "show", "--database", url, "--subject", "nobody") == []
    assert cli.answer("audit", "show", "--database", url, "--event", "command-ended") == []
    table = cli.run("audit", "show", "--database", url, "--since", "1h").stdout
    assert sum("rights-changed" in line for line in table.splitlines()) == 2500
    assert "n 2499" in table


def test_verify_says_whole_broken_and_cut_off(tmp_path: Path) -> None:
    url = filled(tmp_path, 9)
    done = cli.run("audit", "verify", "--database", url)
    assert "no head was remembered" in done.stderr
    head = cli.answer("audit", "verify", "--database", url)["head"]
    assert cli.answer("audit", "verify", "--database", url, "--head", head)["compared_with"] == 1
    tamper(tmp_path, "DELETE FROM audit WHERE no > 7")
    assert cli.answer("audit", "verify", "--database", url)["rows"] == 7
    told = cli.error("audit", "verify", "--database", url, "--head", head, code=7)
    assert "row 8" in told
    assert "cut off" in told
    file = tmp_path / "kept"
    file.write_text(head)
    assert "row 8" in cli.error("audit", "verify", "--database", url, "--head-file", str(file), code=7)


def test_doctor_misses_the_end_that_the_bridge_remembers(tmp_path: Path) -> None:
    """An older backup was restored: `audit verify` and `doctor` say the same."""
    url = filled(tmp_path, 9)
    (tmp_path / "meter.sqlite.audit-head").write_text(
        cli.answer("audit", "verify", "--database", url)["head"]
    )
    assert found_by_doctor(url)["verdict"] == "ok"
    tamper(tmp_path, "DELETE FROM audit WHERE no > 7")
    assert "row 8" in cli.error("audit", "verify", "--database", url, code=7)
    finding = found_by_doctor(url)
    assert finding["verdict"] == "fail"
    assert "an older backup was restored" in finding["detail"]


def found_by_doctor(url: str) -> dict[str, str]:
    """What `doctor` says of the audit."""
    told = cli.run("doctor", "--database", url, "--mqtt", "127.0.0.1:1", "--json", code=1)
    (finding,) = (row for row in json.loads(told.stdout) if row["what"] == "audit")
    return dict(finding)


def test_verify_names_the_first_bad_row_and_show_shows_it(tmp_path: Path) -> None:
    url = filled(tmp_path, 9)
    tamper(tmp_path, "UPDATE audit SET detail = 'x' WHERE no IN (4, 6)")
    assert "row 4: it was changed" in cli.error("audit", "verify", "--database", url, code=7)
    assert cli.answer("audit", "show", "--database", url)[3]["detail"] == {"not as it was written": "x"}
    finding = found_by_doctor(url)
    assert finding["verdict"] == "fail"
    assert "row 4" in finding["detail"]


def test_verify_refuses_what_is_no_head(tmp_path: Path) -> None:
    url = filled(tmp_path, 1)
    assert "no head of the audit" in cli.error("audit", "verify", "--database", url, "--head", "1:x", code=2)
    assert "there is none" in cli.error(
        "audit", "verify", "--database", url, "--head-file", str(tmp_path / "none"), code=2
    )
