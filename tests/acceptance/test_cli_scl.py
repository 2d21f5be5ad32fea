"""Files and messages of others: severities and exit codes of `scl check`, and what reaches the terminal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiomqtt
import pytest

from tests.support.brokers import mosquitto
from tests.support.cli import run
from tests.unit.test_scl_allowed import CLEAN, FAULTS, changed


def test_errors_fail_and_the_others_do_not(tmp_path: Path) -> None:
    """Exit code, summary and --json of each severity."""
    file = tmp_path / "hint.scd"
    file.write_bytes(changed("<FileHandling", '<GOOSE max="8"/><FileHandling'))
    told = run("scl", "check", str(file))
    assert "hint: Services offers GOOSE" in told.stdout
    assert "0 errors, 1 hints (1 services)" in told.stderr
    (row,) = json.loads(run("scl", "check", "--json", str(file)).stdout)
    assert row["severity"] == "hint"
    file.write_text((FAULTS / "vendor_element_late.scd").read_text())
    told = run("scl", "check", str(file))
    assert "0 errors, 1 warnings (1 vendor)" in told.stderr
    file.write_text((FAULTS / "do_type_dangling.scd").read_text())
    told = run("scl", "check", "--json", str(file), code=1)
    assert json.loads(told.stdout)[0]["severity"] == "error"


HOSTILE = "\x85\x9b1m\x7f\u202ereversed\u2066\u200b\u200f\u2028\ufeff\U000e0041"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_hostile_files_reach_no_terminal_raw(tmp_path: Path, options: list[str]) -> None:
    hostile, clean = tmp_path / "hostile.scd", tmp_path / "clean.scd"
    text = CLEAN.replace("Main Street 12", f"Main{HOSTILE}").replace(
        'name="Hz" type="', f'name="Hz" type="{HOSTILE}'
    )
    hostile.write_text(text, encoding="utf-8")
    clean.write_text(CLEAN)
    for command in (["check", str(hostile)], ["diff", str(clean), str(hostile)]):
        told = run("scl", *command, *options, code=1)
        assert "reversed" in told.stdout
        assert all(sign.isprintable() or sign == "\n" for sign in told.stdout + told.stderr)
        if options and command[0] == "diff":
            assert any(HOSTILE in row["what"] for row in json.loads(told.stdout))  # escaped, and whole


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_hostile_messages_reach_no_terminal_raw(tmp_path: Path, options: list[str]) -> None:
    payload = f"\x1b]0;title\x07{HOSTILE}\nforged line"

    async def publish(port: int) -> None:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.publish("sm/v1/hostile", payload, qos=1, retain=True)

    with mosquitto(tmp_path) as broker:
        asyncio.run(publish(broker.port))
        told = run("subscribe", "hostile", "--count", "1", "--mqtt", f"127.0.0.1:{broker.port}", *options)
    assert "reversed" in told.stdout
    assert len(told.stdout.splitlines()) == 1
    assert told.stdout.removesuffix("\n").isprintable()
