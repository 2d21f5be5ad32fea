"""The clients that live through births, each in a thread with an association of its own.

>>> with at_work(port, first, second) as clients:  # doctest: +SKIP
...     ...
>>> clients.problems(published)  # doctest: +SKIP
[]
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from open61850.data import BoolData, IECData, UIntData
from open61850.mms import ObjectName
from open61850.mms.errors import MmsError

from tests.births.away import Missed, Visit, come_and_go, missed
from tests.support.open61850_client import Open61850, open61850
from tests.support.scada import CommandRefusedError, Told

VOLTAGES = "SMGW001GW/LLN0.RP.urcbVol01"
POSITIONS = "SMGW001GW/LLN0.BR.brcbPos01"
LAST_REPORTS_SECONDS = 5.0
"""That the reports of what was published last may take."""
OPERATED_SECONDS = 5.0


@dataclass
class Published:
    """What the first meter has told, in order: its voltages, and its relay's positions with their times."""

    voltages: list[float] = field(default_factory=list)
    positions: list[tuple[str, int]] = field(default_factory=list)
    """Dbpos as text, and ms since 1970."""


@dataclass
class Work:
    """What the clients have done and seen."""

    reads: int = 0
    operations: int = 0
    across: int = 0
    """Births between a select and its operate, all together."""
    voltages: list[Told] = field(default_factory=list)
    positions: list[Told] = field(default_factory=list)
    stayed: int = 0
    """Clients whose association lived to the end."""
    away: list[Visit] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def missed(self, published: Published) -> Missed:
        """What the client that was away has not got."""
        return missed([at for _, at in published.positions], self.away)

    def problems(self, published: Published) -> list[str]:
        """What failed, was lost, or came twice; empty when all is well."""
        voltages = [round(told.entries[0][0][0], 3) for told in self.voltages if 0 in told.entries]
        entries = [told.entries[0] for told in self.positions if 0 in told.entries]
        positions = [(position, t) for position, _quality, t in entries]
        operated = sum(1 in told.entries for told in self.positions)
        lost = self.missed(published).kept
        found = {
            f"BRCB: {lost} entries lost of a client that was away": lost > 0,
            f"URCB: {difference(published.voltages, voltages)}": voltages != published.voltages,
            f"BRCB: {difference(published.positions, positions)}": positions != published.positions,
            f"BRCB: {operated} entries of the meter that was operated {self.operations} times": (
                operated != self.operations
            ),
            "an EntryID came twice": len({told.entry_id for told in self.positions}) != len(self.positions),
            "the URCB's sequence numbers have holes": not contiguous(self.voltages),
            "the BRCB's sequence numbers have holes": not contiguous(self.positions),
        }
        return [*self.failures, *(text for text, wrong in found.items() if wrong)]


def difference(expected: Sequence[object], got: Sequence[object]) -> str:
    """Where two lists part."""
    at = next((i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), "end")
    return f"{len(got)} of {len(expected)}, alike up to {at}"


def contiguous(reports: list[Told]) -> bool:
    """Whether each sequence number follows the one before; it counts to 255 or 65535."""
    numbers = [told.seq or 0 for told in reports]
    return all(b in (a + 1, 0) for a, b in pairwise(numbers))


@contextmanager
def at_work(port: int, first: str, second: str, births: Callable[[], int]) -> Iterator[Work]:
    """Clients that read and subscribe to the first device, and one that operates the second.

    ``births`` counts them; the operator waits for one between its select and its operate.
    """
    work, stop = Work(), threading.Event()
    ready: list[threading.Event] = []
    jobs = [
        lambda client, begun: _read(client, begun, first, work, stop),
        lambda client, begun: _subscribe(client, begun, VOLTAGES, work.voltages, stop),
        lambda client, begun: _subscribe(client, begun, POSITIONS, work.positions, stop),
        lambda client, begun: _operate(client, begun, second, work, births, stop),
    ]
    with ExitStack() as stack:
        threads = []
        for job in jobs:
            client = stack.enter_context(open61850(port))
            begun = threading.Event()
            ready.append(begun)
            threads.append(threading.Thread(target=_guarded, args=(job, client, begun, work)))
            threads[-1].start()
        threads.append(threading.Thread(target=_absent, args=(port, work, stop)))
        threads[-1].start()
        assert all(begun.wait(10) for begun in ready), work.failures
        try:
            yield work
        finally:
            stop.set()
            for thread in threads:
                thread.join()


Job = Callable[[Open61850, threading.Event], None]


def _guarded(job: Job, client: Open61850, begun: threading.Event, work: Work) -> None:
    try:
        job(client, begun)
        work.stayed += 1
    except (MmsError, OSError, CommandRefusedError, AssertionError) as error:
        work.failures.append(repr(error))
    finally:
        begun.set()


def _absent(port: int, work: Work, stop: threading.Event) -> None:
    try:
        come_and_go(port, work.away, stop)
    except (MmsError, OSError) as error:
        work.failures.append(f"the client that comes and goes: {error!r}")


def _read(client: Open61850, begun: threading.Event, device: str, work: Work, stop: threading.Event) -> None:
    while not stop.is_set():
        client.client.read_many([f"{device}/MMXN1.Vol[MX]", f"{device}/XSWI1.Pos[ST]"])
        client.read(f"{device}/LLN0.NamPlt", "DC")
        work.reads += 2
        begun.set()


def _write(client: Open61850, block: str, **values: IECData) -> None:
    domain, _, item = block.replace(".", "$").partition("/")
    for name, value in values.items():
        client.client.write(ObjectName(f"{item}${name}", domain), value)


def _subscribe(
    client: Open61850, begun: threading.Event, block: str, told: list[Told], stop: threading.Event
) -> None:
    if ".RP." in block:  # after 60 s all members would come again, which is no event
        _write(client, block, Resv=BoolData(True), IntgPd=UIntData(0))
    client.enable(block)
    begun.set()
    while not stop.wait(0.02):
        told += client.reports()
    end = time.monotonic() + LAST_REPORTS_SECONDS
    quiet = time.monotonic()
    while time.monotonic() < end and time.monotonic() - quiet < 1.0:
        if new := client.reports():
            told += new
            quiet = time.monotonic()
        time.sleep(0.02)
    assert client.client.is_connected, f"the association that enabled {block} has ended"


def _operate(
    client: Open61850,
    begun: threading.Event,
    device: str,
    work: Work,
    births: Callable[[], int],
    stop: threading.Event,
) -> None:
    control, status = f"{device}/CSWI1.Pos", f"{device}/XSWI1.Pos.stVal"
    begun.set()
    while not stop.is_set():
        close = client.read(status, "ST") == "01"
        before = births()
        client.select(control, close=close)
        while births() == before and not stop.wait(0.02):
            pass
        client.operate(control, close=close, select=False)
        work.across += births() - before
        end = time.monotonic() + OPERATED_SECONDS
        while (client.read(status, "ST") == "10") is not close:
            assert time.monotonic() < end, "operated, and the relay does not show it"
            time.sleep(0.01)
        work.operations += 1
