"""``mms watch`` and ``mms compare`` against a real MMS bridge, as their users run them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from open61850.mms import MmsClient, ObjectName, rcb

from broker.contract.relay import Position
from tests.support.brokers import Broker, free_port
from tests.support.cli import STOP_SECONDS, answer, environment, error, run
from tests.support.mms import DrivenMeter, Scene, eventually, scene

READING = {"voltage": 230.0, "current": 1.0, "power": 200.0, "power_factor": 0.9, "frequency": 50.0}


class Watch:
    """A running ``meter61850 mms watch --json``."""

    def __init__(self, process: subprocess.Popen[str], out: Path, err: Path) -> None:
        self.process, self._out, self._err = process, out, err

    def lines(self, **wanted: object) -> list[dict[str, Any]]:
        """The complete lines so far, those that say what is ``wanted``."""
        text = self._out.read_text()
        told = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in told if all(line[name] == value for name, value in wanted.items())]

    def said(self, words: str) -> bool:
        """Whether that stands on stderr."""
        return self.count(words) > 0

    def count(self, words: str) -> int:
        """How often that stands on stderr."""
        return self._err.read_text().count(words)

    def stop(self, number: signal.Signals) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(4 * STOP_SECONDS)


@contextmanager
def watching(folder: Path, port: int, *options: str, name: str = "watch") -> Iterator[Watch]:
    """``mms watch`` on that port; killed at the end if it still runs."""
    out, err = folder / f"{name}.out", folder / f"{name}.err"
    command = [sys.executable, "-P", "-m", "admin", "mms", "watch", f"127.0.0.1:{port}", "--json", *options]
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(command, env=environment(), stdout=stdout, stderr=stderr, text=True)
    try:
        yield Watch(process, out, err)
    finally:
        process.kill()
        process.wait()


async def served(running: Scene, *, number: int = 1) -> DrivenMeter:
    """A meter with a reading, in a CID that is served."""
    meter = await running.add_meter(number)
    await meter.read(**READING)
    await running.publish_cid()
    (await running.associate()).close()
    return meter


def blocks_in_use(running: Scene) -> int:
    """Report control blocks that a client has."""
    with running.connect() as client:
        return sum(not rcb.read_status(client, block).free for block in report_blocks(client))


def report_blocks(client: MmsClient) -> list[ObjectName]:
    """All of them, in order."""
    return [
        ObjectName(item, domain)
        for domain in client.get_name_list(9)
        for item in client.get_name_list(0, domain)
        if rcb.is_rcb_name(item)
    ]


async def test_watch_shows_values_as_they_change_and_gives_the_blocks_back(
    broker: Broker, tmp_path: Path
) -> None:
    async with scene(broker) as running:
        meter = await served(running)
        with watching(tmp_path, running.port) as watch:
            reference = f"{meter.domain}/MMXN1.Vol"
            (first,) = await eventually(lambda: watch.lines(reference=reference))
            assert (first["value"], first["unit"], first["quality"]) == (230.0, "V", "good")
            assert first["reason"] == "general-interrogation"
            ts = await meter.read(**{**READING, "voltage": 231.5})
            second = await eventually(lambda: next(iter(watch.lines(reference=reference)[1:]), None))
            assert second is not None
            assert (second["value"], second["reason"]) == (231.5, "data-change")
            assert second["time"] == ts.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            assert second["sequence"] == first["sequence"] + 1
            assert "urcb" in second["block"]
            meter.position = Position.OPEN
            await meter.relay(None)
            pos = f"{meter.domain}/XSWI1.Pos"
            await eventually(lambda: watch.lines(reference=pos, value="off", reason="data-change"))
            await meter.status(online=False)
            await eventually(lambda: watch.lines(reference=pos, quality="questionable,old-data"))
            assert await asyncio.to_thread(blocks_in_use, running)
            assert await asyncio.to_thread(watch.stop, signal.SIGINT) == 130
            assert await asyncio.to_thread(blocks_in_use, running) == 0


async def test_watch_of_one_block_ends_after_count_or_time(broker: Broker, tmp_path: Path) -> None:
    async with scene(broker) as running:
        meter = await served(running)
        with running.connect() as client:
            buffered = next(block for block in report_blocks(client) if "brcbPos" in block.item)
        name = buffered.item.split("$")[2]
        server = f"127.0.0.1:{running.port}"
        told = await asyncio.to_thread(run, "mms", "watch", server, "--rcb", name, "--count", "1")
        (line,) = told.stdout.splitlines()
        assert f"{meter.domain}/XSWI1.Pos" in line
        assert "on" in line.split()
        assert "general-interrogation" in line
        assert f"{buffered.domain}/LLN0.{name} #" in line
        silent = ("mms", "watch", server, "--rcb", rcb.instance_base(name), "--no-gi", "--for", "0.3")
        # what was shown above comes once more: a new client knows no EntryID
        assert (await asyncio.to_thread(run, *silent)).returncode == 0
        done = await asyncio.to_thread(lambda: run(*silent, "--count", "1000", code=6))
        assert "of 1000 lines in 0.3 s" in done.stderr
        assert await asyncio.to_thread(blocks_in_use, running) == 0


async def test_watch_goes_on_after_the_last_entry_when_the_bridge_was_away(
    broker: Broker, tmp_path: Path
) -> None:
    """The link is cut, not the server: what happened meanwhile waits in the buffer, and comes once."""
    async with scene(broker) as running:
        meter = await served(running)
        async with Cable(running.port) as cable:
            with watching(tmp_path, cable.port, "--no-gi") as watch:
                pos = f"{meter.domain}/XSWI1.Pos"
                await eventually(lambda: watch.said("Ctrl-C ends"))
                await switch(meter, Position.OPEN)
                await eventually(lambda: watch.lines(reference=pos, value="off"))
                cable.cut()
                await eventually(lambda: watch.said("again in"))
                await switch(meter, Position.CLOSED)
                await switch(meter, Position.OPEN)
                cable.mend()
                await eventually(lambda: len(watch.lines(reference=pos)) >= 3, deadline=60)
                assert [line["value"] for line in watch.lines(reference=pos)] == ["off", "on", "off"]
                assert [line["overflow"] for line in watch.lines(reference=pos)][1:] == [False, False]


async def test_watch_goes_on_with_a_server_that_has_started_anew(broker: Broker, tmp_path: Path) -> None:
    """Its buffers are empty and do not know the last entry: said, and what comes is shown."""
    async with scene(broker) as before, scene(broker) as after:
        old, new = await served(before), await served(after)
        pos = f"{old.domain}/XSWI1.Pos"
        async with Cable(before.port) as cable:
            with watching(tmp_path, cable.port, "--rcb", "brcbPos", "--no-gi") as watch:
                await eventually(lambda: watch.said("Ctrl-C ends"))
                await switch(old, Position.OPEN)
                await eventually(lambda: watch.lines(reference=pos, value="off"))
                cable.cut()
                await eventually(lambda: watch.said("again in"))
                cable.target = after.port
                cable.mend()
                await eventually(lambda: watch.said("does not know its last entry"), deadline=60)
                await eventually(lambda: watch.count("Ctrl-C ends") == 2)
                await switch(new, Position.OPEN)
                await eventually(lambda: len(watch.lines(reference=pos, value="off")) == 2)
                assert await asyncio.to_thread(watch.stop, signal.SIGTERM) == 130
                assert await asyncio.to_thread(blocks_in_use, after) == 0


async def switch(meter: DrivenMeter, position: Position) -> None:
    """The relay moves."""
    meter.position = position
    await meter.relay(None)


class Cable:
    """A TCP link to the MMS port that can be cut."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.target = target
        self._whole = True
        self._links: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Cable:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    def cut(self) -> None:
        """Both ends see their connection end; none is made."""
        self._whole = False
        for writer in self._links:
            writer.transport.abort()
        self._links.clear()

    def mend(self) -> None:
        """New connections go through."""
        self._whole = True

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._links += [writer, far_writer]
        await asyncio.gather(
            self._carry(reader, far_writer), self._carry(far_reader, writer), return_exceptions=True
        )

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


async def test_watch_says_who_has_the_blocks_and_which_there_are(broker: Broker, tmp_path: Path) -> None:
    async with scene(broker) as running:
        await served(running)
        server = f"127.0.0.1:{running.port}"
        missing = await asyncio.to_thread(lambda: error("mms", "watch", server, "--rcb", "brcbNo", code=3))
        assert "brcbNo" in missing
        assert "there are brcb" in missing
        with running.connect() as client:
            taken = report_blocks(client)
            for block in taken:
                rcb.enable(client, block, rcb.RcbSettings(None, None, None, general_interrogation=False))
            said = await asyncio.to_thread(lambda: error("mms", "watch", server, code=5))
        assert "no report control block is free" in said
        assert "is enabled" in said


def test_watch_without_a_server_is_exit_4() -> None:
    port = free_port()
    assert f"127.0.0.1:{port}" in error("mms", "watch", f"127.0.0.1:{port}", code=4)


async def test_compare_finds_no_difference_and_then_the_one_that_there_is(
    broker: Broker, tmp_path: Path
) -> None:
    async with scene(broker) as running:
        await served(running)
        cid = await running.publish_cid()
        good, bad = tmp_path / "good.cid", tmp_path / "bad.cid"
        good.write_bytes(cid)
        changed, count = re.subn(rb'(name="sboTimeout"[^>]*>\s*<Val>)30000', rb"\g<1>20000", cid)
        assert count == 1
        bad.write_bytes(changed)
        server = f"127.0.0.1:{running.port}"
        done = await asyncio.to_thread(run, "mms", "compare", str(good), server)
        assert done.stdout == ""
        assert "SMGW001 at" in done.stderr
        assert " 0 differences in 2 logical devices" in done.stderr
        assert "not tested: DynAssociation" in done.stderr
        assert (await asyncio.to_thread(run, "mms", "compare", str(good), "--all")).stdout == ""
        done = await asyncio.to_thread(
            lambda: run("mms", "compare", str(bad), f"localhost:{running.port}", "--json", code=1)
        )
        (result,) = json.loads(done.stdout)
        (found,) = result["differences"]
        assert found["reference"].endswith("/CSWI1.Pos.sboTimeout [CF]")
        assert (found["what"], found["file"], found["server"]) == ("value", "20000", "30000")


async def test_compare_tells_another_address_and_a_server_that_is_not_there(
    broker: Broker, tmp_path: Path
) -> None:
    async with scene(broker) as running:
        await served(running)
        cid = await running.publish_cid()
        elsewhere, port = tmp_path / "elsewhere.cid", free_port()
        elsewhere.write_bytes(cid.replace(str(running.port).encode(), str(port).encode()))
        done = await asyncio.to_thread(
            lambda: run("mms", "compare", str(elsewhere), f"127.0.0.1:{running.port}", code=1)
        )
        assert "endpoint" in done.stdout
        assert f"127.0.0.1:{port}" in done.stdout
        gone = await asyncio.to_thread(lambda: run("mms", "compare", str(elsewhere), "--all", code=1))
        assert "association" in gone.stdout
        assert await asyncio.to_thread(
            lambda: error("mms", "compare", str(elsewhere), f"127.0.0.1:{port}", code=4)
        )


def test_compare_needs_a_file_and_an_address(tmp_path: Path) -> None:
    no_scl = tmp_path / "no.scd"
    no_scl.write_text("<SCL>")
    assert "/nonexistent" in error("mms", "compare", "/nonexistent.scd", "--all", code=3)
    assert "no SCL file" in error("mms", "compare", str(no_scl), "--all", code=2)


async def test_compare_of_an_ied_that_is_not_in_the_file_says_which_are(
    broker: Broker, tmp_path: Path
) -> None:
    async with scene(broker) as running:
        await served(running)
        path = tmp_path / "served.cid"
        path.write_bytes(await running.publish_cid())
        server = f"127.0.0.1:{running.port}"
        said = await asyncio.to_thread(
            lambda: error("mms", "compare", str(path), server, "--ied", "SMGW009", code=3)
        )
        assert "SMGW001" in said
        (result,) = await asyncio.to_thread(answer, "mms", "compare", str(path), server, "--ied", "SMGW001")
        assert result["attributes"] > 100
