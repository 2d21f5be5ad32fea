"""Meters for the web's benchmark: their retained topics, then readings at a rate.

    python -m bench.web_load --port 1883 --meters 10000 --rate 1000

Prints ``ready`` when everything is retained, and begins with the readings at a line on stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from itertools import count

import aiomqtt

from bench.ingest_load import meter_id
from broker.contract.birth import Birth, Hardware
from broker.contract.messages import utc_now
from broker.contract.reading import Reading
from broker.contract.relay import Position, Relay
from broker.contract.status import Status
from broker.contract.topics import Topics
from broker.mqtt.settings import NO_DELAY

TOPICS = Topics()
EPOCH = int(time.time())
"""Another than those of a store that was filled before (`bench.web_store`), and of an earlier run."""
TURN = 0.02
"""Seconds between two handfuls of readings."""


def address_code(number: int) -> str:
    """One of forty."""
    return str(7500 + number % 40)


def reading(number: int, seq: int) -> bytes:
    """As a house gives it, of now."""
    watts = 200.0 + (number * 37 + seq * 13) % 1000 / 10
    told = Reading(
        epoch=EPOCH, seq=seq, ts=utc_now(), voltage=229.5, current=round(watts / 225, 3), power=watts,
        power_factor=0.98, frequency=50.01, energy=1_000_000.0 + seq, alarm=False,
    )  # fmt: skip
    return told.payload()


async def retain(client: aiomqtt.Client, meters: int) -> None:
    """Birth, status, relay and a first reading of each meter."""
    for number in range(meters):
        one, session = meter_id(number), f"s{number}"
        birth = Birth(
            name=f"House {number}", address_code=address_code(number), firmware="bench", interval=60.0,
            hardware=Hardware(serial=f"bench-{number}"), session=session, ts=utc_now(),
        )  # fmt: skip
        told = {
            "birth": birth.payload(),
            "status": Status(online=True, session=session, ts=utc_now()).payload(),
            "relay": Relay(position=Position.CLOSED, operations=0, ts=utc_now()).payload(),
            "reading": reading(number, 1),
        }
        for kind, payload in told.items():
            await client.publish(TOPICS.meter(one, kind), payload, qos=kind == "reading", retain=True)


async def run(options: argparse.Namespace) -> None:
    """See the module."""
    async with aiomqtt.Client("127.0.0.1", options.port, socket_options=NO_DELAY) as client:
        client.pending_calls_threshold = options.rate  # fewer are no reason for a warning
        await retain(client, options.meters)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begin = time.monotonic()
        for done in count(step=(turn := max(1, round(options.rate * TURN)))):
            await asyncio.sleep(begin + done / options.rate - time.monotonic())
            await asyncio.gather(*(
                client.publish(
                    TOPICS.meter(meter_id(number % options.meters), "reading"),
                    reading(number, 2 + number // options.meters),
                    qos=1,
                    retain=True,
                )
                for number in range(done, done + turn)
            ))  # fmt: skip


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    for name, default in (("port", 1883), ("meters", 10_000), ("rate", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
