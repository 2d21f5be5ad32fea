"""Energy of the running day over HTTP: until the newest stored reading, resets and new epochs as zero."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
from lxml import etree

from tests.support.bridges import METER, READING, TOPICS, Client, birth, not_at_midnight, reading
from tests.support.chain import until
from tests.support.web import Web, beside_meters

ABSENT = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A simulated meter, and one whose counter we are."""
    with beside_meters(tmp_path_factory.mktemp("web"), 1) as web, Client(web.chain.broker) as client:
        client.publish(TOPICS.meter(METER, "birth"), birth(), retain=True)
        yield web


def stored(web: Web, meter_id: str) -> list[tuple[int, int, float | None]]:
    """Epoch, seq and Wh of the meter's readings."""
    query = (
        "SELECT epoch, seq, energy FROM reading JOIN meter ON meter.key = reading.meter WHERE meter_id = ?"
    )
    return web.chain.rows(query, meter_id)


def test_each_step_of_the_counter_counts_once(web: Web) -> None:
    until(not_at_midnight, seconds=70, why="a day that does not end within the test")
    midnight = f"{datetime.now(UTC).date()}T00:00:00.000Z"
    steps = [
        ((1, 1, 98_414.0), None),
        ((1, 2, 98_414.5), 0.5),
        ((1, 3, None), 0.5),
        ((1, 4, 98_420.5), 6.5),
        ((1, 5, 0.0), 6.5),
        ((1, 6, 3.0), 9.5),
        ((2, 1, 500.0), 9.5),
        ((2, 2, 500.1), 9.6),
    ]
    with Client(web.chain.broker) as meter:
        for told, used in steps:
            epoch, seq, energy = told
            meter.publish(READING, reading(seq, epoch=epoch, energy=energy))
            until(partial(lambda told: told in stored(web, METER), told), why=f"{told} is stored")
            expected = {"meter_id": METER, "start": midnight, "energy_used": used}
            assert web.json(f"/meters/{METER}/today") == expected


def test_a_simulated_meter_as_its_stored_readings_say(web: Web) -> None:
    until(not_at_midnight, seconds=70, why="a day that does not end within the test")
    (meter_id,) = web.wait_for_meters(1)

    def counted() -> float:
        counter = [energy for _, _, energy in stored(web, meter_id) if energy is not None]
        return max(counter) - min(counter)

    before = until(counted, seconds=60, why="it has used something")
    assert before <= web.json(f"/meters/{meter_id}/today")["energy_used"] <= counted()


def test_an_unknown_meter_is_404_and_xml_is_spoken(web: Web) -> None:
    with web.program() as client:
        assert client.get(f"/meters/{ABSENT}/today").status_code == 404
        xml = client.get(f"/meters/{METER}/today", headers={"Accept": "application/xml"})
    assert etree.fromstring(xml.content).findtext("meter_id") == METER
