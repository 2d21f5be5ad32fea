"""``meter61850 mms watch``: reports of any IEC 61850 server as they come."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from queue import Empty, Full, Queue
from threading import Event
from typing import Annotated, Any

import typer
from open61850.mms import InformationReport, MmsClient, ObjectName, decode_report, is_report
from open61850.mms.errors import MmsConnectionError
from open61850.mms.report import Report, ReportDecodeError

from admin import output
from admin.exits import NoAnswerError, NotFoundError, RefusedError
from admin.mms.association import Server, TlsCa, TlsCert, TlsKey, association, identity
from admin.mms.name_plates import NO_PLATES, NamePlates, read_plates
from admin.mms.report_lines import Line, Subscription, lines, parse_name
from admin.mms.subscriptions import Wish, give_back, is_alive, take
from admin.mms.tls_client import ClientCertificate
from admin.output import note, print_json
from broker.contract.errors import UnavailableError

QUEUE_SIZE = 1000
"""Reports that may wait for a slow terminal; then the server has to."""
LOOK_SECONDS = 0.2
SILENCE_SECONDS = 10.0
"""Without a report for so long, the server is asked whether it is there."""
BACKOFF_CAP = 30.0


Rcb = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Only this block: brcbPos (any free instance), brcbPos01, LD/LLN0.brcbPos01. Repeatable.",
        show_default=False,
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="LD",
        help="Only members of this logical device: domain, number, meter_id or name. Repeatable.",
        show_default=False,
    ),
]
Gi = Annotated[bool, typer.Option("--gi/--no-gi", help="First show all members (general interrogation).")]
Seconds = Annotated[
    float | None,
    typer.Option("--for", metavar="SECONDS", min=0, help="End after this time.", show_default=False),
]
Count = Annotated[
    int | None,
    typer.Option(min=1, help="End after N lines; exit 6 if --for ends first.", show_default=False),
]


def watch(
    server: Server,
    rcb: Rcb = None,
    device: Devices = None,
    gi: Gi = True,
    seconds: Seconds = None,
    count: Count = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_ca: TlsCa = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each line.")] = False,
) -> None:
    """Show the reports of a server as they come: a line for each changed member, until Ctrl-C.

    Takes one free instance of each report control block, buffered or not, as it is configured, and
    releases all of them at the end. A line has the time of the value, its reference, the name of the
    house, the value, its quality, the reason for the report, the block and its sequence number.

    A lost association is made again. A buffered block then continues after the last entry that was
    shown, so no entry is lost; entries of an unbuffered block are lost.

    Exit 3 if there is no such block, 5 if other clients have all of them.

    \b
    meter61850 mms watch 127.0.0.1:10102
    meter61850 mms watch 127.0.0.1:10102 --rcb brcbPos --no-gi
    meter61850 mms watch 127.0.0.1:10102 --device "House 17"
    meter61850 mms watch 10.0.0.5 --rcb SMGW001GW/LLN0.urcbVol01 --for 60
    meter61850 mms watch 10.0.0.5 --json --count 100 | jq .value
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # gives the blocks back, as Ctrl-C does
    watcher = Watcher(
        server,
        Wish(tuple(rcb or ()), interrogate=gi),
        end=None if seconds is None else time.monotonic() + seconds,
        wanted=count,
        show=_show_json if as_json else _show_text,
        tls=identity(tls_cert, tls_key, tls_ca),
        devices=tuple(device or ()),
    )
    watcher.run()
    if watcher.wanted:
        raise NoAnswerError(f"{count - watcher.wanted if count else 0} of {count} lines in {seconds:g} s")


def _show_json(line: Line) -> None:
    print_json(line.document())
    sys.stdout.flush()


def _show_text(line: Line) -> None:
    output.line(str(line))


@dataclass
class Incoming:
    """Reports between the client's thread and ours; from ``closed`` on they are let go."""

    queue: Queue[tuple[datetime, InformationReport]] = field(default_factory=lambda: Queue(QUEUE_SIZE))
    closed: Event = field(default_factory=Event)

    def put(self, message: InformationReport) -> None:
        """Called by the client; waits while the queue is full, and with it the server."""
        item = datetime.now(UTC), message
        while not self.closed.is_set():
            try:
                return self.queue.put(item, timeout=LOOK_SECONDS)
            except Full:
                continue
        return None


@dataclass
class Watcher:
    """Follows one server over as many associations as it takes."""

    server: str
    wish: Wish
    end: float | None
    wanted: int | None
    show: Callable[[Line], None]
    tls: ClientCertificate | None = None
    devices: tuple[str, ...] = ()
    """Names of the logical devices whose members are shown; all if there are none."""
    plates: NamePlates = NO_PLATES
    seen: dict[ObjectName, bytes] = field(default_factory=dict)
    """Buffered block → the last EntryID that was shown."""
    _chosen: set[str] = field(default_factory=set)
    _met: bool = False
    _attempt: int = 0

    def run(self) -> None:
        """Until it is over; before the first success an error is the caller's."""
        while not self._over:
            try:
                self._follow_once()
            except (UnavailableError, RefusedError, NotFoundError) as error:
                if not self._met:
                    raise
                self._pause(error)

    @property
    def _over(self) -> bool:
        return self.wanted == 0 or (self.end is not None and time.monotonic() >= self.end)

    def _follow_once(self) -> None:
        incoming = Incoming()
        with (
            association(self.server, incoming.put, tls=self.tls) as client,
            self._taken(client, incoming) as taken,
        ):
            self._met, self._attempt = True, 0
            self._follow(client, incoming, taken)

    def _read_names(self, client: MmsClient) -> None:
        """How the devices are called now, and which of them are wanted."""
        self.plates = read_plates(client)
        self._chosen = {self.plates.find(device).domain for device in self.devices}

    @contextmanager
    def _taken(self, client: MmsClient, incoming: Incoming) -> Iterator[list[Subscription]]:
        taken: list[Subscription] = []
        self._read_names(client)
        try:
            for subscription in take(client, replace(self.wish, seen=self.seen)):
                taken.append(subscription)
            names = ", ".join(parse_name(subscription.block) for subscription in taken[:5])
            more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
            note(f"{len(taken)} report control blocks of {self.server}: {names}{more}; Ctrl-C ends")
            yield taken
        finally:
            incoming.closed.set()
            if client.is_connected:
                give_back(client, taken)

    def _follow(self, client: MmsClient, incoming: Incoming, taken: list[Subscription]) -> None:
        heard = time.monotonic()
        while not self._over:
            try:
                received, message = incoming.queue.get(timeout=self._patience())
            except Empty:
                if not client.is_connected or time.monotonic() - heard > SILENCE_SECONDS:
                    heard = time.monotonic()
                    if not is_alive(client, taken[0]):
                        raise MmsConnectionError("the server has disabled our report control block") from None
                continue
            heard = time.monotonic()
            if is_report(message):
                self._take(message, taken, received)

    def _patience(self) -> float:
        return LOOK_SECONDS if self.end is None else max(0.0, min(LOOK_SECONDS, self.end - time.monotonic()))

    def _take(self, message: InformationReport, taken: list[Subscription], received: datetime) -> None:
        try:
            report = decode_report(message)
        except ReportDecodeError as error:
            note(f"a report that cannot be read: {error}")
            return
        subscription = _of(report, taken)
        if subscription is None:
            note(f"a report of {report.rpt_id}, which is not ours")
            return
        for line in lines(report, subscription, received=received, plates=self.plates):
            if self._over:
                return
            if self._chosen and line.reference.partition("/")[0] not in self._chosen:
                continue
            self.show(line)
            if self.wanted is not None:
                self.wanted -= 1
        if report.entry_id and subscription.buffered:
            self.seen[subscription.block] = report.entry_id

    def _pause(self, error: Exception) -> None:
        self._attempt += 1
        pause = random.uniform(0, min(BACKOFF_CAP, 0.5 * 2 ** min(self._attempt, 10)))
        if self.end is not None:
            pause = max(0.0, min(pause, self.end - time.monotonic()))
        note(f"{error}: again in {pause:.1f} s")
        time.sleep(pause)


def _of(report: Report, taken: list[Subscription]) -> Subscription | None:
    """The block that a report is from: by RptID, and where several share one, by data set."""
    found = [subscription for subscription in taken if subscription.report_id == report.rpt_id]
    same = [subscription for subscription in found if subscription.data_set == report.data_set]
    chosen: list[Any] = same or found
    return chosen[0] if chosen else None
