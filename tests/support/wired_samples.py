"""The samples of wired meters: each on its wire, one program that reads them all, and what MMS shows.

>>> WIRED["sml"]["MMTR1.TotWh.actVal"]
3203371
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from broker.contract.topics import scl_name
from meter_firmware.identity import kept_meter_id
from meter_firmware.sensors.kinds import kinds
from meter_firmware.sensors.modbus.registration import MODELS
from tests.support.device_samples import counted, phases
from tests.support.modbus import Image, image, over_tcp
from tests.support.modbus_samples import ENTRIES, SAMPLES, SUNSPEC
from tests.support.telegrams import BLOCK, IDENTIFICATION, MBUS, P1, SML, Port

VOLTAGES = phases("PhV", 231, 229.4, 230.1)
CURRENTS = phases("A", 1.74, 0.14, 4.11)
POWERS = phases("W", 401, 32, -945) | {"MMXU1.TotW.mag.f": -512}
MODBUS = VOLTAGES | CURRENTS | POWERS | counted("MMTR1", DmdWh=4_216_800, SupWh=1_013_400, TotWh=3_203_400)
FINE = counted("MMTR1", DmdWh=4_216_825, SupWh=1_013_454, TotWh=3_203_371)
TARIFFS = counted("MMTR2", DmdWh=2_414_426) | counted("MMTR3", DmdWh=1_802_399)
UNITS = {1: "sdm630", 2: "dtsu666", 3: "cg_em24", 4: "abb_b2x", 5: "iem3000", 6: "sunspec"}
WIRED: dict[str, dict[str, float]] = {
    **dict.fromkeys(UNITS.values(), MODBUS),
    "sml": VOLTAGES | CURRENTS | POWERS | FINE,
    "p1": VOLTAGES | phases("A", 2, 0, 4) | POWERS | FINE | TARIFFS,
    "mbus": phases("PhV", 231, 229, 230) | phases("A", 1.7, 0.1, 4.1) | phases("W", 400, 30, -950)
    | {"MMXU1.TotW.mag.f": -520} | FINE | TARIFFS,
    "iec62056_21": VOLTAGES | CURRENTS | FINE | TARIFFS
    | counted("MMTR1", DmdVArh=310_110, SupVArh=120_004),
}  # fmt: skip
"""Kind → what a client reads: the instant of DEVICES.md 2.6, as finely as the meter tells it."""


def readout(piece: bytes) -> bytes:
    """A meter of IEC 62056-21 mode C."""
    return {b"/?!\r\n": IDENTIFICATION, b"\x06050\r\n": BLOCK}.get(piece, b"")


def on_m_bus(piece: bytes) -> bytes:
    """A meter of M-Bus, alone on its line."""
    return {b"\x10\x40\xfe\x3e\x16": b"\xe5", b"\x10\x7b\xfe\x79\x16": MBUS}.get(piece, b"")


TALKING: dict[str, Callable[[bytes], bytes]] = {"iec62056_21": readout, "mbus": on_m_bus}
SENDING = {"sml": SML, "p1": P1}


def images() -> Mapping[int, Image]:
    """The Modbus meters by their addresses; what is not in the sample is 0."""
    kinds()
    found = {}
    for unit, kind in UNITS.items():
        if kind == "sunspec":
            found[unit] = image(3, _sunspec())
            continue
        (sample,) = (each for each in SAMPLES if each.kind == kind)
        device = MODELS[kind].device
        found[unit] = image(device.function, device.encode({}) | sample.words)
    return found


def _sunspec() -> dict[int, int]:
    told = [int(word, 16) for word in ENTRIES[SUNSPEC]["registers"]["0x0000"]]
    words = [0x5375, 0x6E53, 1, 66, *([0] * 66), *told, 0xFFFF, 0]
    return dict(enumerate(words, 40_000))


@contextmanager
def telegrams(folder: Path) -> Iterator[dict[str, str]]:
    """Kind → its port, on which it answers, or sends each 0.3 s as meters do each second."""
    over = threading.Event()
    with ExitStack() as open_ports:
        ports = {}
        for kind in (*TALKING, *SENDING):
            (folder / kind).mkdir()
            answer = {"answer": TALKING[kind]} if kind in TALKING else {}
            ports[kind] = open_ports.enter_context(Port(folder / kind, **answer))

        def send() -> None:
            while not over.wait(0.3):
                for kind, telegram in SENDING.items():
                    with suppress(BlockingIOError):  # nobody reads it yet
                        ports[kind].send(telegram)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            yield {kind: port.name for kind, port in ports.items()}
        finally:
            over.set()
            sender.join()


@contextmanager
def wired(folder: Path, mqtt_port: int) -> Iterator[dict[str, Path]]:
    """Kind → its meter.toml, while all are on their wires."""
    with over_tcp(images()) as slaves, telegrams(folder) as ports:
        sensors = {kind: f'port = "{port}"\nframe = "8N1"\n' for kind, port in ports.items()}
        for unit, kind in UNITS.items():
            sensors[kind] = f'host = "127.0.0.1"\ntcp_port = {slaves.port}\naddress = {unit}\n'
        yield {kind: _settings(folder, kind, sensor, mqtt_port) for kind, sensor in sensors.items()}


def _settings(folder: Path, kind: str, sensor: str, mqtt_port: int) -> Path:
    file = folder / f"{kind}.toml"
    file.write_text(
        f'interval = 0.5\ndata_dir = "{folder}/data-{kind}"\nclock_synchronized = true\n'
        f'[identity]\nname = "{kind}"\n[hardware]\nserial = "W-{kind}"\n[relay]\nkind = "none"\n'
        f'[sensor]\nkind = "{kind}"\n{sensor}[mqtt]\nport = {mqtt_port}\n'
    )
    return file


def domain(folder: Path, kind: str) -> str:
    """The logical device of this meter, which has run once."""
    return scl_name(kept_meter_id(folder / f"data-{kind}"))
