"""``meter61850 meter``: one meter on a Raspberry Pi, or many simulated ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from admin.lazy import new_app
from admin.options import DATA_DIR, Mqtt, MqttVersion, Prefix, duration, enrolment_place, mqtt_settings
from admin.output import note
from broker.contract.enrolment_codes import EnrolmentCode
from meter_firmware import run as firmware
from meter_firmware import simulate as simulator
from meter_firmware.enrolment import enrol as enrolment
from meter_firmware.identity import kept_meter_id
from meter_firmware.settings import MeterSettings, SimulateSettings

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="A meter, or many simulated ones.")


@app.command()
def run(
    config: Annotated[
        Path, typer.Option(help="The meter's settings; meter_firmware/meter.example.toml explains each.")
    ] = Path("meter.toml"),
) -> None:
    """Run the meter on this Raspberry Pi, until Ctrl-C or SIGTERM.

    \b
    cp meter_firmware/meter.example.toml meter.toml    # then edit it
    meter61850 meter run --config meter.toml
    """
    asyncio.run(firmware.run(MeterSettings.load(config)))


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
    meter61850 meter enrol --broker broker.example --ca ca.crt --code K7QM-…
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
    number: Annotated[int, typer.Option("-n", "--meters", min=1, help="How many meters.")] = 10,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between a meter's readings.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same meters.")] = 1,
    first: Annotated[
        int, typer.Option(min=1, help="Number of the first meter; other processes can simulate the rest.")
    ] = 1,
    data_dir: Annotated[Path, typer.Option(help="Folder of the meters' outboxes and relays.")] = DATA_DIR
    / "meters",
    identities: Annotated[
        Path | None,
        typer.Option(
            show_default=False, readable=False, help="Folder with an identity folder for each meter."
        ),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(show_default=False, help="Enrol the meters first, with this enrolment code."),
    ] = None,
    broker: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help="With --code: the broker's listener for enrolment.")
    ] = "localhost",
    ca: Annotated[Path, typer.Option(help="With --code: the authority's certificate.")] = DATA_DIR
    / "ca/ca.crt",
    mqtt: Mqtt = None,
    prefix: Prefix = None,
    mqtt_version: MqttVersion = None,
) -> None:
    """Run many meters: the program of a real meter with simulated sensors and relays.

    \b
    meter61850 meter simulate -n 100 --interval 5
    meter61850 meter simulate -n 1 --seed 7 --data-dir trial --code K7QM-…
    """
    settings = SimulateSettings(
        n=number,
        first=first,
        seed=seed,
        interval=interval,
        data_dir=data_dir,
        identities=identities,
        mqtt=mqtt_settings(mqtt, prefix, mqtt_version),
    )
    if code is not None:
        host, port = enrolment_place(broker, enrolment.PORT)
        entry = EnrolmentCode.parse(code)
        asyncio.run(simulator.enrol_all(settings, entry, host=host, port=port, ca=ca))
    asyncio.run(simulator.run(settings))
