"""``meter61850 up``: the whole chain on this machine, with simulated meters."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.chain.devices import Devices
from admin.chain.parts import Chain, locked
from admin.chain.supervisor import Supervisor
from admin.chain.up import Up, first_login
from admin.chain.watch import ChainWatch
from admin.commands.broker import chosen
from admin.exits import ExitCode
from admin.lazy import new_app
from admin.options import DATA_DIR, BrokerKind
from admin.output import note, print_json, stderr, stdout
from admin.plain import plain
from broker.signals import stop_on_signals

app = new_app(rich_markup_mode=None)


MqttPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65533,
        show_default=False,
        help="First of the broker's three ports; default: the deployment's, else 8882 (--plain: 1883).",
    ),
]
MmsPort = Annotated[
    int, typer.Option(min=1, max=65535, help="MMS port of the first IED; one more for every 50 meters.")
]
WebPort = Annotated[int, typer.Option(min=1, max=65535, help="Port of the HTTP API and the live page.")]
Broker = Annotated[
    BrokerKind, typer.Option(help="auto: Mosquitto if it is installed, else the embedded one.")
]
Plain = Annotated[
    bool,
    typer.Option("--plain", help="No identities and no TLS: anyone on this machine may switch."),
]
WithDevices = Annotated[
    bool,
    typer.Option(
        "--with-devices",
        help="Also simulate devices of other makers, with an adapter: one device of each family"
        " (Tasmota, Shelly, ESPHome, zigbee2mqtt, Sparkplug B), and a wired three-phase meter.",
    ),
]
DevicesPort = Annotated[
    int, typer.Option(min=1, max=65535, help="With --with-devices: port of the devices' own broker.")
]
Seconds = Annotated[
    float | None,
    typer.Option("--for", min=0, metavar="SECONDS", show_default=False, help="Stop this long after READY."),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="With --for: at the end print each meter's last reading, from the database and over MMS.",
    ),
]


@app.command()
def up(
    meters: Annotated[int, typer.Option(min=1, max=5000, help="How many simulated meters.")] = 10,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between a meter's readings.")] = 2.0,
    data_dir: Annotated[Path, typer.Option(help="Database, outboxes and logs.")] = DATA_DIR,
    mqtt_port: MqttPort = None,
    mms_port: MmsPort = 10102,
    web_port: WebPort = 8061,
    broker: Broker = BrokerKind.AUTO,
    plain: Plain = False,
    with_devices: WithDevices = False,
    devices_port: DevicesPort = 8885,
    seconds: Seconds = None,
    as_json: AsJson = False,
) -> None:
    """Start broker, bridge, MMS bridge, web and simulated meters; print READY when MMS serves all meters.

    The data folder becomes a deployment (see `init`): TLS, an identity for each service and meter.

    Then show a live table, until Ctrl-C stops everything. With --json exit 1 if database and MMS differ.

    \b
    meter61850 up
    meter61850 up --meters 100 --interval 5 --data-dir /tmp/trial
    meter61850 up --for 30 --json | jq .different
    meter61850 up --with-devices
    """
    if as_json and seconds is None:
        raise typer.BadParameter(
            "needs --for SECONDS: the document is printed at the end", param_hint="--json"
        )
    kind = chosen(broker)
    if kind is BrokerKind.EMBEDDED and not plain:
        note("the embedded broker knows no identities: plain MQTT on loopback (apt-get install mosquitto)")
    chain = Chain(
        meters=meters,
        interval=interval,
        data_dir=data_dir,
        mms_port=mms_port,
        web_port=web_port,
        plain=plain or kind is BrokerKind.EMBEDDED,
        devices=Devices(data_dir / "devices", devices_port, interval, kind) if with_devices else None,
    )
    chain = replace(chain, mqtt_port=mqtt_port or chain.usual_mqtt_port())
    with locked(data_dir):
        chain.check_ports()
        chain.prepare()
        if login := first_login(chain.users):
            _tell(login, as_json=as_json)
        code = asyncio.run(_supervise(chain, kind, seconds=seconds, as_json=as_json))
    raise typer.Exit(code)


async def _supervise(chain: Chain, kind: BrokerKind, *, seconds: float | None, as_json: bool) -> ExitCode:
    """Run the chain until it is over, a signal comes, or a child dies (ChildDiedError)."""
    stop = stop_on_signals()
    watch = ChainWatch(chain.mqtt(kind))
    async with Supervisor(chain.data_dir / "logs") as supervisor:
        running = Up(chain, kind, supervisor, watch)
        run = asyncio.create_task(_run(running, seconds=seconds, as_json=as_json), name="up")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        death = asyncio.create_task(supervisor.death(), name="death")
        try:
            await asyncio.wait((run, stopped, death), return_when=asyncio.FIRST_COMPLETED)
            if death.done():
                raise death.result()
            if run.done():
                return run.result()
            return ExitCode.OK if running.ready_seconds and seconds is None else ExitCode.INTERRUPTED
        finally:
            running.servers.close()
            await _cancelled(run, stopped, death)


async def _run(running: Up, *, seconds: float | None, as_json: bool) -> ExitCode:
    """Start, wait, show, and report; ends by itself only with ``seconds``."""
    await running.start()
    follower = asyncio.create_task(running.watch.run(), name="watch")
    try:
        await running.wait_ready()
        _tell(running.ready_line(), as_json=as_json)
        await _meanwhile(running, seconds, table=not as_json and stdout().is_terminal)
        if not as_json:
            return ExitCode.OK
        report = await running.report()
        print_json(report)
        return ExitCode.FAILURE if report["different"] else ExitCode.OK
    finally:
        await _cancelled(follower)


def _tell(line: str, *, as_json: bool) -> None:
    """On stdout, or beside the document that stdout is for."""
    (stderr if as_json else stdout()).print(plain(line), markup=False, soft_wrap=True)


async def _meanwhile(running: Up, seconds: float | None, *, table: bool) -> None:
    """Show the table, or nothing, for ``seconds`` or for ever."""
    activity: Coroutine[Any, Any, Any] = running.show_table() if table else asyncio.Event().wait()
    with suppress(TimeoutError):
        await asyncio.wait_for(activity, seconds)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel and wait; what they raised is known already, or of no interest any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
