"""``meter61850 meter``: one meter on a Raspberry Pi, or many simulated ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from admin.enrolment_place import EnrolmentBroker, EnrolmentCa, folder_of, nearest
from admin.lazy import new_app
from admin.options import DATA_DIR, Json, Mqtt, MqttVersion, Prefix, duration, enrolment_place, mqtt_settings
from admin.output import line, note, print_json
from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.errors import ConfigurationError, UnavailableError
from meter_firmware import run as firmware
from meter_firmware import simulate as simulator
from meter_firmware.enrolment import enrol as enrolment
from meter_firmware.identity import kept_meter_id
from meter_firmware.sensors.modbus.bus import TCP_PORT
from meter_firmware.sensors.modbus.probe import Place
from meter_firmware.sensors.modbus.probe import probe as probe_place
from meter_firmware.sensors.modbus.registration import GENERAL_ADDRESS
from meter_firmware.settings import EXAMPLE, MeterSettings, SimulateSettings

WiredKind = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        help="Kind of sensor (docs/wired-kinds.md): meters that are read over a simulated wire.",
    ),
]
Solar = Annotated[
    bool, typer.Option("--solar", help="With a --kind of three phases: the third phase feeds in.")
]
Identities = Annotated[
    Path | None,
    typer.Option(show_default=False, readable=False, help="Folder with an identity folder for each meter."),
]
Code = Annotated[
    str | None, typer.Option(show_default=False, help="Enrol the meters first, with this enrolment code.")
]

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="A meter, or many simulated ones.")


@app.command()
def run(
    config: Annotated[
        list[Path] | None,
        typer.Option(
            show_default="meter.toml",
            help="The meter's settings; `meter61850 meter example` explains each. May be repeated:"
            " several meters, which may be on one bus.",
        ),
    ] = None,
) -> None:
    """Run the meter on this Raspberry Pi, until Ctrl-C or SIGTERM.

    \b
    meter61850 meter example > meter.toml    # then edit it
    meter61850 meter run --config meter.toml
    meter61850 meter run --config kitchen.toml --config garage.toml
    """
    files = config or [Path("meter.toml")]
    asyncio.run(firmware.run(*(MeterSettings.load(file) for file in files)))


@app.command()
def example() -> None:
    """Print an example of meter.toml that explains every setting.

    \b
    meter61850 meter example > meter.toml
    """
    for text in EXAMPLE.read_text(encoding="utf-8").splitlines():
        line(text)


@app.command()
def probe(
    port: Annotated[str | None, typer.Option(show_default=False, help="Serial device: /dev/ttyUSB0.")] = None,
    host: Annotated[
        str | None, typer.Option(show_default=False, help="Or a device or gateway on TCP.")
    ] = None,
    tcp_port: Annotated[int, typer.Option(min=1, max=65_535, help="With --host: its TCP port.")] = TCP_PORT,
    address: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=GENERAL_ADDRESS,
            show_default="1, 2, 3, 248",
            help="Address on the bus; may be repeated.",
        ),
    ] = None,
    baud_rate: Annotated[
        list[int] | None,
        typer.Option(min=300, show_default="the usual ones", help="Baud rate; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the Modbus meters on a serial line or behind a TCP port, and print a meter.toml for each.

    It only reads. No other program may use the line meanwhile.

    \b
    meter61850 meter probe --port /dev/ttyUSB0 > meter.toml
    meter61850 meter probe --host 192.0.2.7 --address 1 --json
    """
    if (port is None) == (host is None):
        raise ConfigurationError("give --port (a serial device) or --host (TCP)")
    addresses, rates = tuple(address or ()) or None, tuple(baud_rate or ()) or None
    place = Place(port=port, host=host, tcp_port=tcp_port, addresses=addresses, baud_rates=rates)
    found = probe_place(place, tell=note)
    if not found:
        raise UnavailableError(
            f"no meter answers at {port or host}: check its address and baud rate, that A and B are not"
            " swapped, and that no other program uses the line"
        )
    if as_json:
        print_json([each.as_json() for each in found])
    else:
        if len(found) > 1:
            note(f"{len(found)} meters: save each part in a file of its own")
        for text in "\n".join(each.toml() for each in found).splitlines():
            line(text)


@app.command()
def enrol(
    broker: Annotated[
        str,
        typer.Option(metavar="HOST[:PORT]", help="Address of the broker; default port: 8884 (enrolment)."),
    ],
    ca: Annotated[Path, typer.Option(help="The authority's certificate: ca.crt from the administrator.")],
    code: Annotated[str, typer.Option(help="The enrolment code; capitals and hyphens do not matter.")],
    config: Annotated[Path, typer.Option(help="The meter's settings.")] = Path("meter.toml"),
    token: Annotated[
        bool,
        typer.Option(
            "--token", help="Use a password instead of a certificate, for a device that cannot keep one."
        ),
    ] = False,
    wait: Annotated[str, typer.Option(metavar="TIME", help="Time to wait for the approval: 10m, 8h.")] = "0s",
    prefix: Prefix = None,
) -> None:
    """Enrol this meter: make its key here, send one request, and keep the identity in data_dir.

    `meter61850 meter run` then connects with this identity. If you call `enrol` again, it continues.
    Exit 6: an administrator has not decided yet; 5: refused.

    \b
    meter61850 meter enrol --broker broker.example --ca ca.crt --code K7QM-2N4H-8XWE-55TD-RHGC-9PLJ
    """
    typed = EnrolmentCode.parse(code)  # a mistyped one leaves no meter_id behind
    settings = MeterSettings.load(config)
    host, port = enrolment_place(broker, enrolment.PORT)
    plan = enrolment.EnrolmentOptions(
        meter_id=kept_meter_id(settings.data_dir),
        identity=settings.identity,
        hardware=settings.hardware.as_message(),
        data_dir=settings.data_dir,
        host=host,
        port=port,
        ca=ca,
        code=typed,
        prefix=prefix or "sm/v1",
        token=token,
        wait=duration(wait, option="--wait").total_seconds(),
    )
    folder = asyncio.run(enrolment.enrol(plan))
    note(f"enrolled: {folder}; now meter61850 meter run --config {config}")


@app.command()
def simulate(
    ctx: typer.Context,
    number: Annotated[int, typer.Option("-n", "--meters", min=1, help="How many meters.")] = 10,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between a meter's readings.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same meters.")] = 1,
    first: Annotated[
        int, typer.Option(min=1, help="Number of the first meter; other processes can simulate the rest.")
    ] = 1,
    kind: WiredKind = None,
    solar: Solar = False,
    data_dir: Annotated[Path, typer.Option(help="Folder of the meters' outboxes and relays.")] = DATA_DIR
    / "meters",
    identities: Identities = None,
    code: Code = None,
    broker: EnrolmentBroker = None,
    ca: EnrolmentCa = None,
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
) -> None:
    """Run many meters: the program of a real meter with simulated sensors and relays.

    \b
    meter61850 meter simulate -n 100 --interval 5
    meter61850 meter simulate --kind sdm630 -n 3 --solar
    meter61850 meter simulate -n 1 --seed 7 --data-dir trial --code K7QM-2N4H-8XWE-55TD-RHGC-9PLJ
    """
    place = None if code is None else nearest(folder_of(ctx), broker, ca)
    prefix = prefix or (place.prefix if place else None)
    settings = SimulateSettings(
        n=number,
        first=first,
        seed=seed,
        interval=interval,
        kind=kind,
        solar=solar,
        data_dir=data_dir,
        identities=identities,
        mqtt=mqtt_settings(mqtt, prefix, mqtt_version),
    )
    if code is not None and place is not None:
        entry = EnrolmentCode.parse(code)
        asyncio.run(simulator.enrol_all(settings, entry, host=place.host, port=place.port, ca=place.ca))
    asyncio.run(simulator.run(settings))
