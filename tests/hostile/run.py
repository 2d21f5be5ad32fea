"""One run: a real MMS bridge under attack, with a client that goes on reading, and what is said of it.

>>> verdict = asyncio.run(run(folder, seed=7, messages=5000))  # doctest: +SKIP
>>> verdict.problems
[]
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from open61850.mms.errors import MmsError

from tests.hostile.attack import Onslaught, Toll, rudeness
from tests.hostile.capture import load
from tests.hostile.process import MmsProcess
from tests.support.brokers import mosquitto
from tests.support.mms import DrivenMeter, Scene, eventually, scene

GROWTH_MEBIBYTES = 8.0
"""By which the process may grow: buffers of the connections that are open at a time, and the heap's waste."""
SLOWEST_SECONDS = 2.0
"""That a read of the well-behaved client may take."""


@dataclass
class Reader:
    """The client that behaves: one association, one read after the other."""

    reads: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass
class Verdict:
    """What came of a run."""

    seed: int
    toll: Toll
    reader: Reader
    seconds: float
    mebibytes: tuple[float, float]
    """Resident memory before, and the most of it."""
    descriptors: tuple[int, int]
    """Before and after."""
    ended: int | None
    """Exit code, if the process ended by itself."""

    @property
    def problems(self) -> list[str]:
        """What must not be; empty when all is well."""
        grown = self.mebibytes[1] - self.mebibytes[0]
        found = {
            f"the process ended by itself ({self.ended}) after one of {list(self.toll.latest)}": (
                self.ended is not None
            ),
            f"the client that behaves failed: {self.reader.failures}": bool(self.reader.failures),
            f"its slowest read took {self.reader.slowest:.1f} s": self.reader.slowest > SLOWEST_SECONDS,
            f"the server did not close after {self.toll.hung}": bool(self.toll.hung),
            f"memory grew by {grown:.1f} MiB": grown > GROWTH_MEBIBYTES,
            f"descriptors: {self.descriptors}": self.descriptors[1] > self.descriptors[0],
        }
        return [text for text, wrong in found.items() if wrong]


async def run(
    folder: Path,
    *,
    seed: int,
    messages: int,
    first: int = 0,
    watch: Callable[[Toll, MmsProcess], None] = lambda *_: None,
) -> Verdict:
    """Start broker and bridge, throw everything, and see; ``watch`` is called ten times a second."""
    process = MmsProcess(folder)
    with mosquitto(folder) as broker:
        async with scene(broker, bridge=process.running) as running:
            meter = await running.add_meter(1)
            await meter.read(voltage=230.0)
            await running.publish_cid()
            (await running.associate()).close()
            blocks = next(capture for capture in load() if capture.name == "blocks")
            onslaught = Onslaught(running.port, load(), seed=seed, messages=messages, first=first)
            before = process.mebibytes, process.descriptors
            started = time.monotonic()
            most = before[0]
            with reading(running, meter) as reader, rudeness(running.port, blocks), onslaught:
                while not onslaught.over and process.ended is None:
                    watch(onslaught.toll, process)
                    await meter.read(voltage=230.0 + onslaught.toll.attacks % 10)
                    most = max(most, process.mebibytes)
                    await asyncio.sleep(0.1)
            seconds = time.monotonic() - started
            after = await _settled(process, before[1])
            return Verdict(
                seed, onslaught.toll, reader, seconds, (before[0], most), (before[1], after), process.ended
            )


async def _settled(process: MmsProcess, descriptors: int) -> int:
    """Open descriptors once the clients' ends have been noticed, or after ten seconds."""
    if process.ended is None:
        try:
            await eventually(lambda: process.descriptors <= descriptors)
        except AssertionError:
            return process.descriptors
    return descriptors


@contextmanager
def reading(running: Scene, meter: DrivenMeter) -> Iterator[Reader]:
    """A client that holds one association and reads until the block ends."""
    seen, stop = Reader(), threading.Event()

    def loop() -> None:
        try:
            with running.connect() as client:
                while not stop.is_set():
                    started = time.monotonic()
                    client.read(f"{meter.domain}/MMXN1.Vol[MX]")
                    seen.reads += 1
                    seen.slowest = max(seen.slowest, time.monotonic() - started)
        except (MmsError, OSError) as error:
            seen.failures.append(repr(error))

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
