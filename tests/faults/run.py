"""One run: start the chain, let the faults of the plan strike, heal, settle, and audit the ledger.

>>> verdict = run(folder, Layout(seconds=60), seed=7)  # doctest: +SKIP
>>> verdict.passed
True
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tests.faults.ledger import Book, Ledger, audit, flows, last_left, read_book, read_outbox
from tests.faults.plan import GAP, Fault, plan, targets
from tests.faults.site import Layout, Program, Site, site, tail
from tests.faults.stored import named, read_stored
from tests.faults.strikes import heal, strike

START_SECONDS = 90.0
SETTLE_SECONDS = 300.0
"""A meter that has failed often waits up to 60 s before it connects again, and so a second time; a batch that
was sent again in vain waits twice as long each time."""
POLL_SECONDS = 0.1
DATABASE_AWAY = "the database is away"
"""The bridge's words when it can't commit."""


class NotSettledError(AssertionError):
    """What was waited for did not happen in time."""


@dataclass
class Progress:
    """Where a run is, for whoever watches."""

    phase: str = "starting"
    elapsed: float = 0.0
    struck: int = 0
    now: dict[str, Fault] = field(default_factory=dict)
    """Faults that hurt at this moment, by target."""


@dataclass
class Verdict:
    """What came of a run."""

    seed: int
    faults: tuple[Fault, ...]
    ledger: Ledger
    problems: list[str]
    """Processes that ended by themselves, deadlines that were missed."""
    settled_after: float
    """Seconds from the last heal until every outbox was empty."""

    @property
    def passed(self) -> bool:
        """True when the ledger balances and nothing else went wrong."""
        return self.ledger.balanced and not self.problems


def planned(layout: Layout, chain: Site, *, seed: int, gap: float) -> tuple[Fault, ...]:
    """The faults that this chain can have."""
    can_be_hurt = targets(
        layout.processes,
        disk=chain.disk is not None,
        file=chain.server is None and chain.disk is not None and chain.disk.may_be_read_only,
        restart=chain.server is not None,
    )
    return plan(seed, seconds=layout.seconds, targets=can_be_hurt, gap=gap)


def run(
    folder: Path,
    layout: Layout,
    *,
    seed: int,
    gap: float = GAP,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Verdict:
    """Do it all; ``watch`` is called ten times a second."""
    with site(folder, layout) as chain:
        attack = _Attack(chain, planned(layout, chain, seed=seed, gap=gap), watch)
        problems = attack.problems
        settled = time.monotonic()
        try:
            start = dict.fromkeys(_paths(chain), 0)
            attack.until("starting", lambda: _behind(start), seconds=START_SECONDS)
            attack.rage()
            attack.reach_database()
            attack.meet_twin()
            settled = time.monotonic()
            _settle(chain, attack)
            if trouble := chain.office.trouble():
                problems.append(trouble)
        except NotSettledError as error:
            problems.append(str(error))
        settled = time.monotonic() - settled
        problems += _stop(chain)
        ledger = _audited(chain)
        return Verdict(seed, attack.faults, ledger, problems, settled)


class _Attack:
    """Strikes and heals, a thread for each target, while the caller's thread watches."""

    def __init__(self, chain: Site, faults: tuple[Fault, ...], watch: Callable[[Progress], None]) -> None:
        self.faults = faults
        self.problems: list[str] = []
        self._chain = chain
        self._watch = watch
        self._progress = Progress()
        self._stop = threading.Event()
        self._began = time.monotonic()

    def rage(self) -> None:
        """Let all faults strike; returns when the last is healed."""
        self._began = time.monotonic()
        ordered = sorted(self.faults, key=lambda fault: (fault.target, fault.at))
        by_target = [list(faults) for _, faults in groupby(ordered, key=lambda fault: fault.target)]
        with ThreadPoolExecutor(len(by_target) or 1) as pool:
            pending = [pool.submit(self._hurt, faults) for faults in by_target]
            try:
                self.until("attacking", lambda: _running(pending), seconds=self._chain.layout.seconds + 60)
            finally:
                self._stop.set()
        for future in pending:
            future.result()

    def reach_database(self) -> None:
        """Whatever fell together so far: keep the database away for as long as the bridge takes to notice.

        The bridge may have been dead or cut off through every fault of the disk; here nothing else hurts.
        """
        log = self._chain.programs["bridge"].log
        fault = Fault(0.0, *(("disk full", "disk") if self._chain.disk else ("restart", "database")), 0.0)
        if DATABASE_AWAY in log.read_text():
            return
        strike(self._chain, fault)
        try:
            self.until(
                "the database is taken away",
                lambda: "" if DATABASE_AWAY in log.read_text() else "unnoticed by the bridge",
                seconds=SETTLE_SECONDS,
            )
        finally:
            heal(self._chain, fault)

    def meet_twin(self) -> None:
        """If there were twins: the bridge has named one, or names one now that nothing else hurts."""
        twins = [fault for fault in self.faults if fault.kind == "twin"]
        if not twins or named(self._chain.url, "twin"):
            return
        strike(self._chain, twins[-1])
        try:
            self.until(
                "a twin is there",
                lambda: "" if named(self._chain.url, "twin") else "unnoticed by the bridge",
                seconds=SETTLE_SECONDS,
            )
        finally:
            heal(self._chain, twins[-1])

    def until(self, phase: str, missing: Callable[[], str], *, seconds: float) -> None:
        """Wait until nothing is ``missing`` (it says what is); NotSettledError after ``seconds``."""
        self._progress.phase = phase
        deadline = time.monotonic() + seconds
        while what := missing():
            self._check_programs()
            self._progress.elapsed = time.monotonic() - self._began
            self._watch(self._progress)
            if time.monotonic() > deadline:
                raise NotSettledError(f"{phase}: after {seconds:.0f} s still {what}")
            time.sleep(POLL_SECONDS)

    def _check_programs(self) -> None:
        programs = [*self._chain.programs.values(), *list(self._chain.twins.values())]
        failures = [failure for program in programs if (failure := program.failure())]
        if failures:
            raise NotSettledError("\n".join(failures))

    def _hurt(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if self._stop.wait(self._began + fault.at - time.monotonic()):
                return
            with self._noted(fault):
                strike(self._chain, fault)
                self._stop.wait(fault.seconds)
                heal(self._chain, fault)

    @contextmanager
    def _noted(self, fault: Fault) -> Iterator[None]:
        self._progress.now[fault.target] = fault
        try:
            yield
        finally:
            self._progress.now.pop(fault.target)
            self._progress.struck += 1


def _running(pending: Iterable[Future[None]]) -> str:
    """Threads that have not ended; the error of one that failed is raised."""
    for future in pending:
        if not future.done():
            return "faults to come"
        future.result()
    return ""


def _settle(chain: Site, attack: _Attack) -> None:
    """Every meter gets new readings through; then the sensors stand still and every outbox runs empty."""
    mark = {path: path.stat().st_size for path in _paths(chain)}
    deadline = time.monotonic() + SETTLE_SECONDS
    attack.until("flowing again", lambda: _behind(mark), seconds=SETTLE_SECONDS)
    for program in chain.meters:
        (chain.witnessed(program) / "quiet").touch()
    left = deadline - time.monotonic()
    attack.until("emptying the outboxes", lambda: _waiting(chain), seconds=left)


def _behind(marks: Mapping[Path, int]) -> str:
    """Meters of which nothing is confirmed that they took since their book was so long."""
    return " ".join(path.stem[:8] for path, size in marks.items() if not flows(path, after=size))


def _waiting(chain: Site) -> str:
    """Meters whose sensor does not stand still yet, or whose outbox holds readings."""
    waiting = [path for path in _paths(chain) if not path.with_suffix(".quiet").exists() or last_left(path)]
    return " ".join(f"{path.stem[:8]}:{last_left(path)}" for path in waiting)


def _audited(chain: Site) -> Ledger:
    found = _books(chain)
    outboxes = {book.meter_id: read_outbox(chain.outbox(book.meter_id)) for book in found}
    return audit(found, outboxes, read_stored(chain.url))


def _stop(chain: Site) -> list[str]:
    """SIGTERM to meters, then bridge; those that did not end cleanly."""
    programs: list[Program] = [*reversed(list(chain.programs.values()))]
    codes = {program.name: program.stop() for program in programs}
    return [
        f"{name} did not end cleanly: exit code {code}\n{tail(chain.programs[name].log)}"
        for name, code in codes.items()
        if code
    ]


def _paths(chain: Site) -> list[Path]:
    """The books of all meters."""
    return [
        chain.witnessed(program) / f"{meter_id}.jsonl"
        for program, ids in chain.meters.items()
        for meter_id in ids
    ]


def _books(chain: Site) -> list[Book]:
    return [read_book(path) for path in _paths(chain)]
