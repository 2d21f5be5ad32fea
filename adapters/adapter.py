"""The adapter: what devices tell becomes readings of meters, one meter for each accepted metering point.

>>> asyncio.run(Adapter(AdapterSettings.load(Path("adapters.toml"))).run(stop))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from adapters import acceptance, points
from adapters.acceptance import Acceptance, Rule
from adapters.entry import Context, Entry
from adapters.family import Point, Step
from adapters.settings import AdapterSettings
from adapters.source import Source
from adapters.store import FILE_NAME, Store
from broker.contract.errors import ConfigurationError
from meter_firmware.profile import Profile
from meter_firmware.simulate import allow_files

_log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks at the file of what is accepted."""
MOST_POINTS = 20_000
"""That are remembered; a broker with more has devices that invent keys."""
STOP_SECONDS = 10.0
FILES_PER_METER, FILES_BESIDES = 2, 200
Place = tuple[str, str]
"""Family and key of a metering point, as the meter's id has them: capitals do not matter."""


def _place(family: str, key: str) -> Place:
    return family, key.casefold()


async def admitted(_profile: Profile, _folder: Path) -> None:
    """Without a deployment every meter may start."""


class Adapter:
    """Sources on one side, meters on the other."""

    def __init__(
        self, settings: AdapterSettings, *, admit: Callable[[Profile, Path], Awaitable[None]] = admitted
    ) -> None:
        self._settings = settings
        self._store = Store(settings.data_dir / FILE_NAME)
        self._context = Context(settings, admit, self._store)
        self._known: dict[Place, tuple[Source, Point]] = {}
        self._entries: dict[Place, Entry] = {}
        self._running: dict[Place, tuple[asyncio.Event, asyncio.Task[None]]] = {}
        self._accepted_at = -1
        self._acceptance = Acceptance(settings.accept)
        self.sources = [
            Source(
                source,
                settings.mqtt_of(source),
                self._take,
                connected=self._connected,
                prefix=settings.mqtt.prefix,
            )
            for source in settings.source
        ]

    @property
    def entries(self) -> list[Entry]:
        """The accepted points."""
        return list(self._entries.values())

    @property
    def known(self) -> int:
        """Metering points that were met."""
        return len(self._known)

    async def run(self, stop: asyncio.Event) -> None:
        """Be the meters until ``stop``; ConfigurationError if accepted.json or the store cannot be read."""
        await asyncio.to_thread(self._store.open)
        try:
            await self._serve(stop)
        finally:
            await asyncio.to_thread(self._store.close)

    async def _serve(self, stop: asyncio.Event) -> None:
        await self._look()
        self._remember()
        jobs = [asyncio.create_task(source.run()) for source in self.sources]
        jobs.append(asyncio.create_task(self._keep_looking()))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*jobs, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for job in (*jobs, stopping):
                job.cancel()
            await self._end()
        for job in jobs:
            with suppress(asyncio.CancelledError):
                await job

    def _remember(self) -> None:
        """Start at once what was met before: its outbox may wait."""
        for kept in points.kept(self._settings.data_dir):
            sources = [one for one in self.sources if one.family == kept.family]
            named = [one for one in sources if one.settings.name == kept.source]
            if sources:
                self._meet((named or sources)[0], kept.point)
            entry = self._entries.get(_place(kept.family, kept.point.key))
            if entry is not None:
                entry.guessed = not named and len(sources) > 1

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
                for source in self.sources:
                    await asyncio.to_thread(source.aside.save, self._settings.data_dir)
            except (ConfigurationError, OSError) as error:
                _log.warning("%s", error)
                await asyncio.sleep(10 * LOOK_SECONDS)

    async def _look(self) -> None:
        """Read what is accepted if the file has changed."""
        file = self._settings.data_dir / acceptance.FILE_NAME
        try:
            at = file.stat().st_mtime_ns
        except FileNotFoundError:
            at = 0
        if at == self._accepted_at:
            return
        self._accepted_at = at
        accepted = await asyncio.to_thread(acceptance.read, self._settings.data_dir)
        self._acceptance = Acceptance(self._settings.accept, accepted)
        for source, point in list(self._known.values()):
            self._judge(source, point)

    def _take(self, source: Source, step: Step) -> None:
        if isinstance(step, Point):
            self._meet(source, step)
            return
        key = getattr(step, "key", "")
        entry = self._entries.get(_place(source.family, key))
        if entry is not None and entry.source is source and entry.point.key == key:
            entry.take(step)

    def _meet(self, source: Source, point: Point) -> None:
        place = _place(source.family, point.key)
        entry, before = self._entries.get(place), self._known.get(place)
        if entry is not None and self._is_another(entry, source, point):
            return
        if before is None and len(self._known) >= MOST_POINTS and self._rule(source, point) is None:
            source.aside.note("too many metering points", f"{point.key}: {MOST_POINTS} are known")
            return
        point = points.merged(point, entry.point if entry else before[1] if before else None)
        self._known[place] = source, point
        self._judge(source, point)
        if place in self._entries:
            self._entries[place].announced()

    def _is_another(self, entry: Entry, source: Source, point: Point) -> bool:
        """Whether somebody else's device has the identity of a meter: it does not speak for that meter."""
        if entry.source is not source and not entry.guessed:
            there = entry.source.settings.name
            source.aside.note("device is on two sources", f"{point.key}: its meter is of the source {there}")
            return True
        if entry.point.key != point.key:
            detail = f"{point.key!r}: there is a meter of {entry.point.key!r}"
            source.aside.note("two keys differ in capitals only", detail)
            return True
        entry.guessed = False
        return False

    def _judge(self, source: Source, point: Point) -> None:
        """Start, change or stop its meter, as the rules have it now."""
        place, rule = _place(source.family, point.key), self._rule(source, point)
        if rule is None:
            self._dismiss(place)
        elif place in self._entries:
            self._entries[place].update(source, point, rule)
        elif place not in self._running:
            self._begin(place, source, point, rule)

    def _rule(self, source: Source, point: Point) -> Rule | None:
        return self._acceptance.rule(source.family, point.key, point.name, source=source.settings.name)

    def _begin(self, place: Place, source: Source, point: Point, rule: Rule) -> None:
        try:
            allow_files(FILES_BESIDES + FILES_PER_METER * (len(self._entries) + 1))
        except ConfigurationError as error:
            source.aside.note("too many meters", str(error))
            return
        entry = Entry(self._context, source, point, rule)
        stop = asyncio.Event()
        task = asyncio.create_task(entry.run(stop), name=f"entry {entry.meter_id}")
        self._entries[place] = entry
        self._running[place] = stop, task
        _log.info("%s %s is meter %s", *place, entry.meter_id)

    def _dismiss(self, place: Place) -> None:
        if self._entries.pop(place, None) is None:
            return
        stop, task = self._running[place]
        stop.set()
        task.add_done_callback(lambda _: self._dismissed(place))

    def _dismissed(self, place: Place) -> None:
        self._running.pop(place, None)
        if place in self._known:
            self._judge(*self._known[place])

    def _connected(self, source: Source) -> None:
        if source.up:
            for entry in self._entries.values():
                if entry.source is source:
                    entry.ask()

    async def _end(self) -> None:
        running = list(self._running.values())
        for stop, _ in running:
            stop.set()
        tasks = [task for _, task in running]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for source in self.sources:
            with suppress(OSError):
                await asyncio.to_thread(source.aside.save, self._settings.data_dir)
