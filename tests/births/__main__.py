"""``python -m tests.births``: births in the whole chain, under clients at work. Prints how it went."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

from tests.births.run import Verdict, run
from tests.support.brokers import free_port, mosquitto
from tests.support.chain import Chain
from tests.support.generations import generations
from tests.support.mms import DrivenMeter, Scene, eventually, meter_id, scene

PREFIX = "sm/v1"
METERS_PER_IED = 100
NEW_METERS = METERS_PER_IED - 2
"""Births of new meters; those that follow are of the same meters at another address."""


class Made(NamedTuple):
    """What the births have made."""

    revisions: int
    """Of the SCD."""
    generations: int
    """Of the IED's server, during the run."""


app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)

# fmt: off
Births = Annotated[int, typer.Option(min=1, help="Meters that are born, or born anew with another address.")]
Spare = Annotated[int, typer.Option(min=0, max=METERS_PER_IED - 1, help="Spare logical devices of the IED.")]
Seconds = Annotated[float, typer.Option(min=1, help="In so many seconds, evenly.")]
# fmt: on


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def births(births: Births = 200, seconds: Seconds = 60.0, spare: Spare = 10) -> None:
    """Let meters be born in the whole chain while clients read, hear reports, and operate.

    Real Mosquitto, the bridge and the MMS bridge as processes; every birth changes the CID of the IED that
    the clients are associated with, and makes a new generation of its server if no spare logical device is
    left. Exit code 0: no request failed, no report was lost or came twice, every select was operated across
    a birth, and a client that comes and goes has got what was buffered, but for new generations. 1: something
    did; it is printed.

    \b
    python -m tests.births --births 200 --seconds 60
    python -m tests.births --births 200 --seconds 60 --spare 0
    """
    folder = Path(tempfile.mkdtemp(prefix="births-"))
    verdict, made = asyncio.run(_births(folder, births, seconds, spare))
    _print(verdict, made)
    if verdict.problems:
        console.print(f"NOT WELL; everything is kept in {folder}", style="bold red")
        console.print("\n".join(verdict.problems), markup=False)
        sys.exit(1)
    shutil.rmtree(folder)


async def _births(folder: Path, births: int, seconds: float, spare: int) -> tuple[Verdict, Made]:
    """The verdict, and what the births have made."""
    metrics_port = free_port()
    with mosquitto(folder) as broker:
        chain = Chain(broker, folder, free_port())
        async with scene(
            broker, prefix=PREFIX, bridge=lambda _: _processes(chain, spare=spare, metrics_port=metrics_port)
        ) as running:
            running.port = chain.mms_port
            for number in (1, 2):
                meter = await running.add_meter(number)
                await meter.read(voltage=230.0, power=200.0)
            await _served(running, meters=2)
            before = generations(metrics_port)
            verdict = await run(running, births=births, seconds=seconds, born=_born)
            await _served(running, meters=2 + min(births, NEW_METERS))
            [(revisions,)] = chain.rows("SELECT count(*) FROM scl_revision")
            return verdict, Made(int(revisions), generations(metrics_port) - before)


@contextmanager
def _processes(chain: Chain, *, spare: int, metrics_port: int) -> Iterator[None]:
    """Bridge and MMS bridge."""
    chain.start_bridge("--max-meters-per-ied", str(METERS_PER_IED), "--spare", str(spare))
    chain.start("mms", "run", "--mqtt", chain.mqtt, "--metrics-port", str(metrics_port))
    try:
        yield
    finally:
        chain.stop()


async def _served(running: Scene, *, meters: int) -> None:
    """Wait until a new association sees so many meters."""
    (await running.associate()).close()

    def seen() -> bool:
        with running.connect() as client:
            value: Any = client.read("SMGW001GW/GGIO1.IntIn1.stVal[ST]")
            return bool(value.value == meters)

    await eventually(seen, deadline=20.0)


async def _born(running: Scene, number: int) -> None:
    meter = DrivenMeter(running.client, running.topics, meter_id(100 + number % NEW_METERS))
    await meter.join(name=f"House {number}")


def _print(verdict: Verdict, made: Made) -> None:
    work, missed = verdict.work, verdict.work.missed(verdict.published)
    console.print(
        f"{verdict.births} births: {made.revisions} revisions, {made.generations} new generations, "
        f"{work.stayed} of 4 associations stayed; {len(work.away)} visits of a client that comes and goes: "
        f"{missed.kept} buffered entries lost, {missed.replaced} more by new generations",
        soft_wrap=True,
    )
    console.print(
        f"meanwhile {work.reads} reads, "
        f"{work.operations} operates, all across births ({work.across}); "
        f"{len(work.voltages)} reports of {len(verdict.published.voltages)} voltages, "
        f"{len(work.positions)} entries of {len(verdict.published.positions)} positions "
        f"and {work.operations} operates",
        soft_wrap=True,
    )


if __name__ == "__main__":
    app()
