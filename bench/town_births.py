"""How long a birth takes until a new MMS association sees its logical device; for `bench.town`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from admin.mms.name_plates import read_plates
from bench.ingest_load import meter_id
from bench.town_figures import DOMAINS, PER_IED, associate


def births(publish: Callable[[int], None], first_port: int, meters: int, *, count: int) -> dict[str, float]:
    """Seconds from a birth until a new association sees whose a logical device is."""
    seconds = []
    for number in range(meters, meters + count):
        born, port = meter_id(number), first_port + number // PER_IED
        begin = time.perf_counter()
        publish(number)
        while True:
            with associate(port) as client:
                if born in {plate.meter_id for plate in read_plates(client).plates}:
                    break
            time.sleep(0.02)
        seconds.append(time.perf_counter() - begin)
    seconds.sort()
    return {"birth_p50_s": statistics.median(seconds), "birth_p99_s": seconds[len(seconds) * 99 // 100]}


def births_reference(first_port: int, *, count: int) -> dict[str, float]:
    """Seconds of the same question alone: associate and list the devices."""
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        with associate(first_port) as client:
            client.get_name_list(DOMAINS)
        seconds.append(time.perf_counter() - begin)
    return {"associate_p50_s": statistics.median(seconds)}
