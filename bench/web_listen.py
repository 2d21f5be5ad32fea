"""Live streams for the web's benchmark: how old an event is when it is heard.

    python -m bench.web_listen --port 8061 --token … --streams 200 --seconds 10 --interest meter

Each listens to ``all``, to one ``meter`` of its own, or to one address ``code``. Prints JSON: the median and
the 99th percentile of the age of readings in ms, the worst, events and MB heard.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from bench.ingest_load import meter_id
from bench.web_load import address_code

WARM_UP = 2.0
"""Seconds that are not counted."""
_TS = b'"ts":"'


INTERESTS: dict[str, Callable[[int, int], str]] = {
    "all": lambda _number, _apart: "",
    "meter": lambda number, apart: f"&meter={meter_id(number * apart)}",
    "code": lambda number, _apart: f"&address_code={address_code(number)}",
}
"""What the listener of that number adds to its query; their meters are so far apart."""


async def listen(query: str, options: argparse.Namespace, ages: list[float], heard: list[int]) -> None:
    """One stream; the age of the first reading in each piece that comes, which waited longest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port, limit=2**22)
    request = (
        f"GET /api/v1/stream?kind=meter{query} HTTP/1.1\r\nHost: 127.0.0.1:{options.port}\r\n"
        f"Authorization: Bearer {options.token}\r\n\r\n"
    )
    writer.write(request.encode())
    begin = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(options.seconds + WARM_UP):
            while piece := await reader.read(2**20):
                if time.monotonic() - begin >= WARM_UP:
                    note(piece, ages, heard)
            raise ConnectionError("the stream has ended")
    writer.close()


def note(piece: bytes, ages: list[float], heard: list[int]) -> None:
    """The age of its first reading, its events and octets."""
    place = piece.find(_TS)
    if not 0 <= place < len(piece) - 30:
        return
    ts = datetime.fromisoformat(piece[place + len(_TS) : place + len(_TS) + 24].decode())
    ages.append(1000 * (time.time() - ts.timestamp()))
    heard[0] += piece.count(b"event: meter")
    heard[1] += len(piece)


async def run(options: argparse.Namespace) -> None:
    """See the module."""
    ages: list[float] = []
    heard = [0, 0]
    apart = max(1, options.meters // options.streams)
    queries = [INTERESTS[options.interest](number, apart) for number in range(options.streams)]
    await asyncio.gather(*(listen(query, options, ages, heard) for query in queries))
    ages.sort()
    told = {
        "lag_p50_ms": ages[len(ages) // 2],
        "lag_p99_ms": ages[len(ages) * 99 // 100],
        "lag_max_ms": ages[-1],
        "events_per_stream_s": heard[0] / options.streams / options.seconds,
        "mb_s": heard[1] / 1e6 / options.seconds,
    }
    print(json.dumps({name: round(value, 1) for name, value in told.items()}))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--meters", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--interest", choices=INTERESTS, default="all")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
