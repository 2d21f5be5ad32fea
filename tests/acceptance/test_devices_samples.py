"""Each sample of a device through the whole chain: what it tells is what an MMS client reads.

One chain and one adapter for all devices on MQTT, one program for all wired meters. What a device tells with
a time of its own has this time; the rest has that of its arrival, with the mark that nobody keeps it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from open61850.mms import MmsClient
from open61850.mms.errors import MmsError

from tests.support import wired_samples
from tests.support.brokers import mosquitto
from tests.support.chain import Chain, chain
from tests.support.clients import CLIENTS
from tests.support.device_player import (
    Player,
    Shown,
    adapter_settings,
    constraint,
    differences,
    quality,
    settle,
    shown,
)
from tests.support.device_samples import CASES, Case, Stage
from tests.support.samples import FOLDER
from tests.support.scada import Client
from tests.support.wired_samples import WIRED, wired

OLD = "questionable,old-data"
OURS = "home_assistant_device_discovery"
"""What our own meters say: tests/unit/test_homeassistant_out.py."""


@dataclass
class Town:
    """All devices, and two independent clients."""

    running: Chain
    player: Player
    folder: Path
    client: MmsClient
    other: Client

    def wired(self, kind: str) -> str:
        """The logical device of a wired meter."""
        return wired_samples.domain(self.folder, kind)


@contextmanager
def old_names() -> Iterator[None]:
    """The bridge names logical devices as old deployments have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METER61850_LD_NAMES", "meter_id")
        yield


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """All devices have told everything once: no meter's model changes any more.

    The logical devices have the names of an old deployment.
    """
    folder = tmp_path_factory.mktemp("devices")
    with (
        old_names(),
        mosquitto(folder) as broker,
        wired(folder, broker.port) as files,
        chain(broker, folder) as running,
        Player(broker) as player,
    ):
        running.start("adapter", "run", "--config", str(adapter_settings(folder, broker)), name="adapter")
        configs = [word for file in files.values() for word in ("--config", str(file))]
        running.start("meter", "run", *configs, name="wired")
        models = {case.domain: names_of(case) for case in CASES.values()}
        models |= {wired_samples.domain(folder, kind): set(WIRED[kind]) for kind in WIRED}

        def play() -> None:
            for case in CASES.values():
                for stage in case.stages:
                    if not stage.offline:
                        player.play(case, stage)

        play()
        settle(lambda: missing(running, models), play)
        with running.connect() as client, CLIENTS["libiec61850"](running.mms_port) as other:
            yield Town(running, player, folder, client, other)


def names_of(case: Case) -> set[str]:
    """All that its model must have."""
    return {name for stage in case.stages for name in (*stage.values, *stage.invalid)}


def missing(running: Chain, models: dict[str, set[str]]) -> list[str]:
    """What is not served yet."""
    found = ["no association"]
    with suppress(MmsError, OSError), running.connect() as client:
        there = client.get_name_list(9)
        found = [domain for domain in models if domain not in there]
        for domain, wanted in models.items() if not found else ():
            served = set(client.get_name_list(0, domain))
            found += [f"{domain}/{name}" for name in wanted if variable(name) not in served]
    return found


def variable(name: str) -> str:
    """``MMXU1.TotW.mag.f`` as MMS calls it."""
    node, _, rest = name.partition(".")
    return f"{node}${constraint(name)}${rest.replace('.', '$')}"


def test_every_sample_is_played() -> None:
    told = {name.partition(",")[0] for name in CASES}
    assert told == {file.stem for file in FOLDER.glob("*.jsonl")} - {OURS}


@pytest.mark.parametrize("name", CASES)
def test_what_a_device_tells_is_read_over_mms(name: str, town: Town) -> None:
    case = CASES[name]
    last: dict[str, float] = {}
    for stage in case.stages:
        if stage.offline:
            town.player.play(case, stage)
            settle(partial(gone, town.client, case.domain, last))
        else:
            told(town, case, stage)
            last = stage.values
            both_read(town, case.domain, stage.values)


def told(town: Town, case: Case, stage: Stage) -> None:
    """The device says the stage, and this very instant is served."""
    begin = time.time()
    at = [town.player.play(case, stage)]

    def right(found: Shown) -> bool:
        if found.quality != "good" or found.synchronized is not bool(stage.timed):
            return False
        return abs(found.ts - at[-1]) < 0.0011 if stage.timed else begin - 0.001 <= found.ts <= time.time()

    def look() -> list[str]:
        wrong = differences(town.client, case.domain, stage.values, right)
        qualities = {name: quality(town.client, case.domain, name) for name in stage.invalid}
        return wrong + [f"{name}: {q}" for name, q in qualities.items() if not q.startswith("invalid")]

    settle(look, lambda: at.append(town.player.play(case, stage)))


def gone(client: MmsClient, domain: str, last: dict[str, float]) -> list[str]:
    """What is not told as the last values of a device that is away."""
    return differences(client, domain, last, lambda found: found.quality == OLD)


def both_read(town: Town, domain: str, wanted: dict[str, float]) -> None:
    """The other client reads the same."""
    read = {name: town.other.read(f"{domain}/{name}", constraint(name)) for name in wanted}
    assert read == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", WIRED)
def test_what_a_wired_meter_tells_is_read_over_mms(kind: str, town: Town) -> None:
    def right(found: Shown) -> bool:
        return found.quality == "good" and found.synchronized and abs(time.time() - found.ts) < 60

    domain = town.wired(kind)
    settle(lambda: differences(town.client, domain, WIRED[kind], right))
    both_read(town, domain, WIRED[kind])


def test_what_a_meter_does_not_tell_is_not_in_its_model(town: Town) -> None:
    """A readout of IEC 62056-21 has no power, and a Sparkplug node no currents: absent, not 0."""
    served = {
        domain: set(town.client.get_name_list(0, domain))
        for domain in (town.wired("iec62056_21"), CASES["sparkplug_b"].domain)
    }
    node, readout = served[CASES["sparkplug_b"].domain], served[town.wired("iec62056_21")]
    assert variable("MMXU1.TotW.mag.f") in node - readout
    assert variable("MMXU1.A.phsA.cVal.mag.f") in readout - node
    assert shown(town.client, town.wired("sml"), "MMXU1.TotW.mag.f").value == -512
