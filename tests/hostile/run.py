"""One run: a real MMS bridge under attack, with a client that goes on reading, and what is said of it.

>>> verdict = asyncio.run(run(folder, seed=7, messages=5000))  # doctest: +SKIP
>>> verdict.problems
[]
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from tests.hostile.attack import Onslaught, Toll, rudeness
from tests.hostile.capture import load
from tests.hostile.process import MmsProcess
from tests.hostile.questions import CANARY, Answers, Questions
from tests.hostile.reader import Reader, reading
from tests.support.brokers import mosquitto
from tests.support.mms import DrivenMeter, eventually, scene

GROWTH_MEBIBYTES = 8.0
"""By which the process may grow: buffers of the connections that are open at a time, and the heap's waste.

Twice as much at the very most, because the worst coincidence of a long run is worse than that of a short one.
"""
LEAK_MEBIBYTES = 3.0
"""By which it may grow from the middle of a run to its end. The heap is filled by the first 25,000 messages;
the next 40,000 brought 0.1 MiB."""
SLOWEST_SECONDS = 2.0
"""That a read of the well-behaved client may take, beside the wait for a processor."""


@dataclass
class Verdict:
    """What came of a run."""

    seed: int
    toll: Toll
    reader: Reader
    seconds: float
    mebibytes: list[float]
    """Resident memory, ten times a second."""
    descriptors: tuple[int, int]
    """Before and after."""
    ended: int | None
    """Exit code, if the process ended by itself."""
    answers: Answers
    """To the questions of ``services.py``."""

    @property
    def problems(self) -> list[str]:
        """What must not be; empty when all is well."""
        grown, leaked = max(self.mebibytes) - self.mebibytes[0], leak(self.mebibytes)
        found = {
            f"the process ended by itself ({self.ended}) after one of {list(self.toll.latest)}": (
                self.ended is not None
            ),
            f"the client that behaves failed: {self.reader.failures}": bool(self.reader.failures),
            f"its slowest read took {self.reader.slowest:.1f} s": self.reader.slowest > SLOWEST_SECONDS,
            f"the server did not close after {self.toll.hung}": bool(self.toll.hung),
            f"memory grew by {grown:.1f} MiB": grown > 2 * GROWTH_MEBIBYTES,
            f"memory grew by {leaked:.1f} MiB in the second half": leaked > LEAK_MEBIBYTES,
            f"descriptors: {self.descriptors}": self.descriptors[1] > self.descriptors[0],
        }
        return [*self.answers.problems, *(text for text, wrong in found.items() if wrong)]


def leak(mebibytes: Sequence[float]) -> float:
    """Growth from the middle of a run to its end, each the median of a tenth of all samples.

    >>> leak([66.0] * 10 + [69.0] * 10 + [69.5] * 10)
    0.5
    """
    few = max(1, len(mebibytes) // 10)
    middle = len(mebibytes) // 2
    return median(mebibytes[-few:]) - median(mebibytes[middle : middle + few])


async def run(
    folder: Path,
    *,
    seed: int,
    messages: int,
    first: int = 0,
    questions: int = 0,
    watch: Callable[[Toll, MmsProcess], None] = lambda *_: None,
) -> Verdict:
    """Start broker and bridge, throw everything, ask everything; ``watch`` is called ten times a second."""
    process = MmsProcess(folder)
    with mosquitto(folder) as broker:
        async with scene(broker, bridge=process.running) as running:
            meter = await running.add_meter(1)
            await meter.read(voltage=230.0)
            await running.publish_cid()
            (await running.associate()).close()
            blocks = next(capture for capture in load() if capture.name == "blocks")
            onslaught = Onslaught(running.port, load(), seed=seed, messages=messages, first=first)
            memory, descriptors = [process.mebibytes], process.descriptors
            started = time.monotonic()
            with (
                reading(running.port, meter.domain, process.pid) as reader,
                rudeness(running.port, blocks),
                onslaught,
            ):
                while not onslaught.over and process.ended is None:
                    watch(onslaught.toll, process)
                    await meter.read(voltage=230.0 + onslaught.toll.attacks % 10)
                    memory.append(process.mebibytes)
                    await asyncio.sleep(0.1)
                asking = Questions(running.port, meter.domain, seed=seed, count=questions)
                answers = await _asked(meter, asking, lambda: memory.append(process.mebibytes))
            seconds = time.monotonic() - started
            after = await _settled(process, descriptors)
            return Verdict(
                seed, onslaught.toll, reader, seconds, memory, (descriptors, after), process.ended, answers
            )


async def _asked(meter: DrivenMeter, questions: Questions, watch: Callable[[], None]) -> Answers:
    """The answers; meanwhile the bridge takes and drops messages with the canary, which stays in its heap."""
    with questions:
        while not questions.over:
            await meter.publish("reading", b'{"epoch": "' + CANARY * 200 + b'"}')
            await meter.publish("block", CANARY * 5, retain=False)
            with suppress(psutil.Error):
                watch()
            await asyncio.sleep(0.1)
    return questions.answers


async def _settled(process: MmsProcess, descriptors: int) -> int:
    """Open descriptors once the clients' ends have been noticed, or after ten seconds."""
    if process.ended is None:
        try:
            await eventually(lambda: process.descriptors <= descriptors)
        except AssertionError:
            return process.descriptors
    return descriptors
