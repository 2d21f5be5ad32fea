"""The HTTP API over a real broker, bridge and store: what is read, in which format, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from lxml import etree

from bridge.store.tables import moment
from broker.contract.messages import format_ts
from broker.version import VERSION
from scl_builder.check.checker import check
from tests.support.bridges import Client
from tests.support.chain import until
from tests.support.web import Web, beside_meters
from web.auth.accounts import Role

ABSENT = "00000000-0000-4000-8000-000000000001"
SCL = "{http://www.iec.ch/61850/2003/SCL}"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Three simulated meters that read twice a second, and the web beside them."""
    with beside_meters(tmp_path_factory.mktemp("web"), 3) as web:
        until(lambda: web.json("/meters")["meters"][0]["ied"], why="the registry is read")
        yield web


def test_meters_are_listed_by_name_a_page_at_a_time(web: Web) -> None:
    first = web.json("/meters", limit=2)
    assert [meter["name"] for meter in first["meters"]] == ["House 1", "House 2"]
    assert first["total"] == 3
    second = web.json("/meters", limit=2, after=first["next"])
    assert [meter["name"] for meter in second["meters"]] == ["House 3"]
    assert second["next"] is None


def test_filters_choose_meters(web: Web) -> None:
    meter = web.json("/meters")["meters"][0]
    code, ied = meter["address_code"], meter["ied"]
    assert ied == "SMGW001"
    assert web.json("/meters", ied=ied)["total"] == 3
    assert web.json("/meters", ied="SMGW999")["total"] == 0
    assert web.json("/meters", address_code=code)["total"] >= 1
    assert web.json("/meters", address_code=f"not {code}")["total"] == 0
    assert web.json("/meters", search="HOUSE 2")["total"] == 1
    assert web.json("/meters", online=False)["total"] == 0
    online = until(lambda: web.json("/meters/latest", state="online", search="house 3")["meters"])
    assert online[0]["name"] == "House 3"


def test_latest_is_what_the_meter_published(web: Web) -> None:
    """Looked up in the database, without our code between."""
    meter_id = web.wait_for_meters(3)[0]
    told = web.json(f"/meters/{meter_id}/latest")
    ms = round(datetime.fromisoformat(told["ts"]).timestamp() * 1000)
    query = """SELECT voltage, power FROM reading JOIN meter ON meter.key = reading.meter
        WHERE meter_id = ? AND ts = ?"""
    stored = until(lambda: web.chain.rows(query, meter_id, ms), why="the reading is stored")
    assert stored == [(told["voltage"], told["power"])]
    until(lambda: web.json(f"/meters/{meter_id}/latest")["state"] == "online", why="it is not stale")
    assert told["relay"] == "closed"


def test_latest_of_all_is_one_document_with_an_etag(web: Web) -> None:
    with web.program() as client:
        answer = client.get("/meters/latest")
        assert answer.headers["content-encoding"] == "gzip"
        assert {meter["name"] for meter in answer.json()["meters"]} == {"House 1", "House 2", "House 3"}
        plain = client.get("/meters/latest", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        again = client.get("/meters/latest", headers={"If-None-Match": plain.headers["etag"]})
        assert again.status_code in (200, 304)  # 304 unless a reading came between
        assert (again.status_code == 304) == (again.headers["etag"] == plain.headers["etag"])


def test_what_does_not_change_is_told_once(web: Web) -> None:
    with web.program() as client:
        first = client.get("/scl/scd")
        again = client.get("/scl/scd", headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")


def test_show_tells_the_registry_and_the_latest(web: Web) -> None:
    meter_id = web.wait_for_meters(3)[0]
    told = web.json(f"/meters/{meter_id}")
    assert told["scl_name"] == web.chain.domain(meter_id)
    assert told["serial"]
    assert told["retired_at"] is None
    assert told["voltage"] > 200


def newest(web: Web, meter_id: str) -> str:
    """The time of its newest reading in the store, as soon as all that are older are there too."""
    query = """SELECT max(ts), max(seq), count(*) FROM reading
        JOIN meter ON meter.key = reading.meter WHERE meter_id = ?"""

    def whole() -> str:
        ((ts, seq, count),) = web.chain.rows(query, meter_id)
        return format_ts(moment(ts)) if count and seq == count else ""

    return until(whole, why="no reading is still to come on history")


def test_readings_in_a_range_by_page(web: Web) -> None:
    meter_id = web.wait_for_meters(3)[0]
    until(lambda: len(web.chain.rows("SELECT 1 FROM reading")) > 30, why="some readings")
    end = newest(web, meter_id)
    whole = web.json(f"/meters/{meter_id}/readings", end=end)
    assert whole["resolution"] == "raw"
    assert whole["units"]["power"] == "W"
    pages, after = [], None
    while True:
        query = {"end": end, "limit": 3} | ({"after": after} if after else {})
        page = web.json(f"/meters/{meter_id}/readings", **query)
        pages += page["readings"]
        if (after := page["next"]) is None:
            break
    assert pages == whole["readings"]
    key = "SELECT seq FROM reading JOIN meter ON meter.key = reading.meter WHERE meter_id = ? ORDER BY ts"
    stored = [row[0] for row in web.chain.rows(key, meter_id)]
    assert [row["seq"] for row in pages] == stored[: len(pages)]


def test_columns_for_charts_are_the_same(web: Web) -> None:
    meter_id = web.wait_for_meters(3)[0]
    end = newest(web, meter_id)
    rows = web.json(f"/meters/{meter_id}/readings", end=end)["readings"]
    columns = web.json(f"/meters/{meter_id}/readings", end=end, layout="columns")["columns"]
    assert columns["power"] == [row["power"] for row in rows]
    assert columns["ts"] == [round(datetime.fromisoformat(row["ts"]).timestamp() * 1000) for row in rows]


def test_csv_parquet_and_xml_have_the_same_rows(web: Web) -> None:
    meter_id = web.wait_for_meters(3)[0]
    end = newest(web, meter_id)
    rows = web.json(f"/meters/{meter_id}/readings", end=end)["readings"]
    found = {}
    with web.program() as client:
        for kind in ("text/csv", "application/vnd.apache.parquet", "application/xml"):
            answer = client.get(f"/meters/{meter_id}/readings", params={"end": end}, headers={"Accept": kind})
            assert answer.headers["content-type"].startswith(kind)
            found[kind] = answer.content
    table = list(csv.DictReader(io.StringIO(found["text/csv"].decode())))
    assert [(row["ts"], float(row["power"])) for row in table] == [(row["ts"], row["power"]) for row in rows]
    parquet = pq.read_table(io.BytesIO(found["application/vnd.apache.parquet"]))
    assert parquet.column("seq").to_pylist() == [row["seq"] for row in rows]
    xml = etree.fromstring(found["application/xml"])
    assert [item.findtext("ts") for item in xml.iterfind("readings/item")] == [row["ts"] for row in rows]


def test_a_long_range_is_summed_up(web: Web) -> None:
    meter_id = web.wait_for_meters(3)[0]
    now = datetime.now(UTC)
    for days, resolution in ((1, "raw"), (10, "hour"), (100, "day")):
        told = web.json(f"/meters/{meter_id}/readings", start=format_ts(now - timedelta(days=days)))
        assert told["resolution"] == resolution


def test_xml_by_accept(web: Web) -> None:
    with web.program(Accept="application/xml") as client:
        page = etree.fromstring(client.get("/meters").content)
        latest = etree.fromstring(client.get("/meters/latest").content)
    assert [item.findtext("name") for item in page.iterfind("meters/item")] == [
        f"House {n}" for n in (1, 2, 3)
    ]
    assert len(latest.findall("meters/item")) == 3


def test_scd_and_cid_are_the_published_ones(web: Web) -> None:
    with web.program() as client:
        scd, cid = client.get("/scl/scd").content, client.get("/scl/cid/SMGW001").content
    assert scd.decode() == web.chain.cli("scl", "export", "--mqtt", web.chain.mqtt)
    assert check(scd) == []
    assert [ied.get("name") for ied in etree.fromstring(cid).iter(f"{SCL}IED")] == ["SMGW001"]


def test_revisions_say_what_changed(web: Web) -> None:
    told = web.json("/scl/revisions")
    assert told["current"] == told["revisions"][0]["revision"]
    assert told["ieds"] == ["SMGW001"]
    assert "added" in told["revisions"][-1]["what"]
    assert told["revisions"][-1]["why"] == "births and withdrawals of meters"


def test_difference_of_an_scl_file_in_words(web: Web) -> None:
    with web.program(Role.OBSERVER, **{"Content-Type": "application/xml"}) as client:
        scd = client.get("/scl/scd").content
        same = client.post("/scl/diff", content=scd)
        other = client.post("/scl/diff", content=scd.replace(b"House 2", b"Haus 2"))
        none = client.post("/scl/diff", content=b"<SCL")
    assert same.json()["differences"] == []
    assert "House 2" in json.dumps(other.json()["differences"])
    assert none.status_code == 422


def test_what_is_alike_in_many_devices_is_one_line_if_it_is_wanted(web: Web) -> None:
    with web.program(Role.OBSERVER, **{"Content-Type": "application/xml"}) as client:
        older = client.get("/scl/scd").content.replace(f">{VERSION}<".encode(), b">0.0.1<")
        every = client.post("/scl/diff", content=older).json()["differences"]
        few = client.post("/scl/diff", params={"condensed": "true"}, content=older).json()["differences"]
    every, few = ([one for one in rows if "LLN0.NamPlt.swRev" in one["what"]] for rows in (every, few))
    assert len(every) == 4, "three houses and the gateway"
    assert [one["device"] for one in few] == ["4 logical devices"]


def test_health_names_services_and_database(web: Web) -> None:
    told = web.json("/health")
    assert told["broker"] is True
    assert told["database"] == "ok"
    assert told["findings"] == []
    assert {"bridge", "mms", "web"} <= {one["name"] for one in told["services"] if one["online"]}
    until(lambda: web.json("/health")["summary"]["online"] == 3, why="none is stale")
    assert told["summary"]["power"] > 0


def test_a_dead_letter_is_shown(web: Web) -> None:
    with Client(web.chain.broker) as client:
        client.publish("sm/v1/not-a-meter/reading", b"rubbish")
    letters = until(lambda: web.json("/dead-letters")["dead_letters"], why="the dead letter")
    assert letters[0]["topic"] == "sm/v1/not-a-meter/reading"
    assert letters[0]["payload"] == "rubbish"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (f"/meters/{ABSENT}", 404, ABSENT),
        (f"/meters/{ABSENT}/latest", 404, ABSENT),
        (f"/meters/{ABSENT}/readings", 404, ABSENT),
        ("/meters/nonsense", 422, "meter_id"),
        ("/meters?limit=0", 422, "limit"),
        ("/meters?after=nonsense", 422, "cursor"),
        (f"/meters/{ABSENT}/readings?start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", 422, "not before"),
        (f"/meters/{ABSENT}/readings?start=yesterday", 422, "start"),
        ("/scl/cid/SMGW999", 404, "SMGW999"),
        ("/commands/none", 404, "none"),
        ("/stream?kind=gossip", 422, "gossip"),
        ("/nonsense", 404, "Not Found"),
    ],
)
def test_errors_are_problems_that_name_the_value(web: Web, path: str, status: int, said: str) -> None:
    with web.program() as client:
        answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert said in problem["detail"]


def test_no_such_format_is_406(web: Web) -> None:
    with web.program(Accept="image/png") as client:
        assert client.get("/meters").status_code == 406


def test_head_over_a_connection_that_goes_on(web: Web) -> None:
    with web.program() as client:
        for path in ("/meters", "/scl/scd", "/meters/latest"):
            head = client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert int(head.headers["content-length"]) > 0
            assert client.get(path).content


def test_nobody_reads_without_a_token(web: Web) -> None:
    with web.nobody() as client:
        for headers in ({}, {"Authorization": "Bearer guessed"}, {"Authorization": "Basic YTpi"}):
            answer = client.get("/api/v1/meters", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_foreign_host_name_is_refused(web: Web) -> None:
    """A page of another site whose name leads here (DNS rebinding) reads nothing."""
    with web.program(Host="evil.example") as client:
        assert client.get("/meters").status_code == 400


def test_every_answer_has_the_security_headers(web: Web) -> None:
    with web.nobody() as client:
        for path in ("/api/v1/meters", "/nonsense", "/openapi.json"):
            headers = client.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
            assert headers["x-content-type-options"] == "nosniff"


def test_retire_needs_an_administrator_and_an_offline_meter(web: Web) -> None:
    meter_id = web.wait_for_meters(3)[2]
    with web.program(Role.OPERATOR) as operator:
        assert operator.delete(f"/meters/{meter_id}").status_code == 403
    with web.program() as administrator:
        refused = administrator.delete(f"/meters/{meter_id}")
        assert refused.status_code == 409
        assert "force" in refused.json()["detail"]
        assert administrator.delete(f"/meters/{ABSENT}").status_code == 404
    assert meter_id in web.wait_for_meters(3)


def test_the_description_names_every_route(web: Web) -> None:
    with web.nobody() as client:
        document = client.get("/openapi.json").json()
    assert "/api/v1/meters/{meter_id}/readings" in document["paths"]
    for operations in document["paths"].values():
        for operation in operations.values():
            assert {"401", "403", "422"} <= set(operation["responses"])
