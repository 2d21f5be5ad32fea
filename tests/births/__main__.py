"""``python -m tests.births``: births in the whole chain, under clients at work. Prints how it went."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mms_bridge.settings import MmsSettings
from tests.births.run import Verdict, run
from tests.support.brokers import free_port, mosquitto
from tests.support.chain import Chain
from tests.support.mms import DrivenMeter, Scene, eventually, meter_id, scene

PREFIX = "sm/v1"
METERS_PER_IED = 100
NEW_METERS = METERS_PER_IED - 2
"""Births of new meters; those that follow are of the same meters at another address."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)

# fmt: off
Births = Annotated[int, typer.Option(min=1, help="Meters that are born, or born anew with another address.")]
Seconds = Annotated[float, typer.Option(min=1, help="In so many seconds, evenly.")]
# fmt: on


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def births(births: Births = 200, seconds: Seconds = 60.0) -> None:
    """Let meters be born in the whole chain while clients read, hear reports, and operate.

    Real Mosquitto, the bridge and the MMS bridge as processes; every birth changes the CID of the IED that
    the clients are associated with. Exit code 0: no request failed, no report was lost or came twice, and
    every select was operated across a birth. 1: something did; it is printed.

    \b
    python -m tests.births --births 200 --seconds 60
    """
    folder = Path(tempfile.mkdtemp(prefix="births-"))
    verdict, generations = asyncio.run(_births(folder, births, seconds))
    _print(verdict, generations)
    if verdict.problems:
        console.print(f"NOT WELL; everything is kept in {folder}", style="bold red")
        console.print("\n".join(verdict.problems), markup=False)
        sys.exit(1)
    shutil.rmtree(folder)


async def _births(folder: Path, births: int, seconds: float) -> tuple[Verdict, int]:
    """The verdict, and how many configurations the bridge has published."""
    with mosquitto(folder) as broker:
        chain = Chain(broker, folder, free_port())
        async with scene(
            broker, prefix=PREFIX, bridge=lambda settings: _processes(chain, settings)
        ) as running:
            running.port = chain.mms_port
            for number in (1, 2):
                meter = await running.add_meter(number)
                await meter.read(voltage=230.0, power=200.0)
            await _served(running, devices=3)
            verdict = await run(running, births=births, seconds=seconds, born=_born)
            await _served(running, devices=3 + min(births, NEW_METERS))
            [(revisions,)] = chain.rows("SELECT count(*) FROM scl_revision")
            return verdict, int(revisions)


@contextmanager
def _processes(chain: Chain, _settings: MmsSettings) -> Iterator[None]:
    """Bridge and MMS bridge."""
    chain.start_bridge("--max-meters-per-ied", str(METERS_PER_IED))
    chain.start_mms()
    try:
        yield
    finally:
        chain.stop()


async def _served(running: Scene, *, devices: int) -> None:
    """Wait until a new association sees so many logical devices."""
    (await running.associate()).close()

    def seen() -> bool:
        with running.connect() as client:
            return len(client.get_name_list(9)) == devices

    await eventually(seen, deadline=20.0)


async def _born(running: Scene, number: int) -> None:
    meter = DrivenMeter(running.client, running.topics, meter_id(100 + number % NEW_METERS))
    await meter.join(name=f"House {number}")


def _print(verdict: Verdict, generations: int) -> None:
    work = verdict.work
    console.print(
        f"{verdict.births} births ({generations} configurations); meanwhile {work.reads} reads, "
        f"{work.operations} operates, all across births ({work.across}); "
        f"{len(work.voltages)} reports of {len(verdict.published.voltages)} voltages, "
        f"{len(work.positions)} entries of {len(verdict.published.positions)} positions "
        f"and {work.operations} operates",
        soft_wrap=True,
    )


if __name__ == "__main__":
    app()
