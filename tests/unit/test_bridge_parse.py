"""Payloads: the fast way and the model agree, and every bad payload has a cause that can be counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ingest import parse
from bridge.ingest.parse import RejectedError
from bridge.ingest.rows import KNOWN_TIME, OTHER, Row, reading_of
from bridge.store.pack_format import StoredReading
from bridge.store.tables import at_ms
from broker.contract.birth import Birth
from broker.contract.messages import EARLIEST, format_ts
from broker.contract.quantities import QUANTITIES
from broker.contract.reading import NO_INSTANCE, Reading
from broker.contract.result import Result

NOW = at_ms(datetime(2026, 11, 23, 12, tzinfo=UTC))
GOOD = {
    "epoch": 1_795_000_000_000,
    "seq": 7,
    "ts": "2026-11-23T11:59:59.125Z",
    "voltage": 231.2,
    "current": 0,
}

numbers = st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=5), st.just("1.5"))
timestamps = st.one_of(
    st.datetimes(min_value=datetime(2019, 12, 30), max_value=datetime(2030, 1, 1)).map(
        lambda ts: format_ts(ts.replace(tzinfo=UTC))
    ),
    st.sampled_from(
        [
            "2026-11-23T12:00:00Z",
            "2026-11-23T12:00:00.000+01:00",
            "2026-11-23 12:00:00.000Z",
            "2026-W48-1T12:00:00.000Z",
        ]
    ),
    st.text(min_size=24, max_size=24),
    st.integers(),
)
readings = st.fixed_dictionaries(
    {
        "epoch": st.one_of(st.integers(-1, 2**54), numbers),
        "seq": st.one_of(st.integers(-1, 2**54), numbers),
        "ts": timestamps,
    },
    optional=dict.fromkeys(
        (*QUANTITIES, "alarm", "clock_synchronized", "instance", "thd_current", "t1", "no-label"), numbers
    ),
)
good_readings = st.fixed_dictionaries(
    {
        "epoch": st.integers(1, 2**53 - 1),
        "seq": st.integers(1, 2**53 - 1),
        "ts": st.just("2026-11-23T12:00:00.000Z"),
    },
    optional=dict.fromkeys(
        (*QUANTITIES, "alarm", "clock_synchronized", "instance", "thd_current", "t1", "no-label"), numbers
    ),
)


def reading_row(payload: bytes, meter: int | str, *, latest: int) -> Row:
    """The row alone."""
    return parse.reading_row(payload, meter, latest=latest)[0]


@given(st.one_of(readings, good_readings))
def test_the_fast_way_only_accepts_what_the_model_accepts_with_the_same_values(
    fields: dict[str, object],
) -> None:
    payload = json.dumps(fields).encode()
    fast = parse._usual(payload, 1)
    if fast is not None:
        reading = Reading.model_validate_json(payload)
        values = [getattr(reading, name) for name in QUANTITIES]
        told = (*values, reading.alarm, parse._json(reading.other), reading.clock_synchronized is not False)
        row = StoredReading(reading.epoch, reading.seq, at_ms(reading.ts), *told)
        found = reading_of(fast[0])
        assert (fast[0][0], found, fast[1]) == (1, row, reading.instance or NO_INSTANCE)
        assert [*map(type, found)] == [*map(type, row)]


@given(good_readings)
def test_one_bad_quantity_costs_that_quantity_whichever_it_is(fields: dict[str, object]) -> None:
    """Bridge, MMS bridge and web read the same; what was told is in one of two places."""
    payload = json.dumps(fields).encode()
    row, reading = reading_row(payload, 1, latest=2**60), Reading.model_validate_json(payload)
    values = [getattr(reading, name) for name in (*QUANTITIES, "alarm")]
    assert [getattr(reading_of(row), name) for name in (*QUANTITIES, "alarm")] == values
    other = json.loads(row[OTHER] or "{}")
    for name, value in zip((*QUANTITIES, "alarm"), values, strict=True):
        told = fields.get(name)
        assert (name in other) == (told is not None and value is None)
    assert parse.refused(row) == sorted(other.keys() & {*QUANTITIES, "alarm"})
    assert all(type(value) in (float, str) for value in other.values())


NUMBERS_OF_A_NEWER_METER = {f"q{n}": n / 3 for n in range(32)}


def test_numbers_that_only_a_newer_meter_knows_are_kept() -> None:
    row = reading_row(json.dumps(GOOD | NUMBERS_OF_A_NEWER_METER).encode(), 1, latest=NOW)
    assert json.loads(row[OTHER]) == NUMBERS_OF_A_NEWER_METER
    assert parse.refused(row) == []
    others = {"q": 1, "note": "x", "on": True, "no-label": 2, "ä": 3, "none": None, "list": [1]}
    row = reading_row(json.dumps(GOOD | others).encode(), 1, latest=NOW)
    assert row[OTHER] == '{"q":1.0}', "what is no number under a name is not of a reading"
    assert reading_row(json.dumps(GOOD | {"other": {"a": 1}}).encode(), 1, latest=NOW)[OTHER] is None


def test_more_numbers_than_we_keep_are_no_reading() -> None:
    """It is kept aside whole: nothing of it is thrown away and confirmed."""
    with pytest.raises(RejectedError, match="more than 32 unknown quantities"):
        reading_row(json.dumps(GOOD | NUMBERS_OF_A_NEWER_METER | {"one_more": 1}).encode(), 1, latest=NOW)


@pytest.mark.parametrize(("told", "known"), [(True, True), (False, False), ("perhaps", False), (None, True)])
def test_whether_the_meter_knew_the_time(told: object, known: bool) -> None:
    payload = json.dumps(GOOD | {"clock_synchronized": told}).encode()
    assert reading_row(payload, 1, latest=NOW)[KNOWN_TIME] is known
    assert reading_row(json.dumps(GOOD).encode(), 1, latest=NOW)[KNOWN_TIME] is True


@given(st.datetimes(min_value=EARLIEST.replace(tzinfo=None), max_value=datetime(2099, 12, 31)))
def test_the_fast_way_keeps_every_millisecond(ts: datetime) -> None:
    ts = ts.replace(microsecond=ts.microsecond // 1000 * 1000, tzinfo=UTC)
    fast = parse._usual(json.dumps(GOOD | {"ts": format_ts(ts)}).encode(), 1)
    assert fast is not None
    assert fast[0][3] == at_ms(ts)


def test_a_usual_reading_takes_the_fast_way() -> None:
    row = (1, 1_795_000_000_000, 7, NOW - 875, 231.2, 0.0, None, None, True, ("voltage", "current"))
    assert parse._usual(json.dumps(GOOD).encode(), 1) == (row, NO_INSTANCE)
    assert parse._usual(json.dumps(GOOD | {"instance": "a1b2"}).encode(), 1) == (row, "a1b2")


# fmt: off
SENDERS: list[tuple[object, str]] = [
    ("a1b2", "a1b2"), ("a-1.b:2", "a-1.b:2"), (None, NO_INSTANCE), ("", NO_INSTANCE), (7, NO_INSTANCE),
    ('"},{', NO_INSTANCE), ("ä", NO_INSTANCE), ("x" * 65, NO_INSTANCE), (["a"], NO_INSTANCE),
]
# fmt: on


@pytest.mark.parametrize(("told", "sender"), SENDERS)
def test_who_sent_a_reading_is_no_part_of_it(told: object, sender: str) -> None:
    """One that cannot be read costs itself, in a reading that is rejected, too."""
    row, found = parse.reading_row(json.dumps(GOOD | {"instance": told}).encode(), 1, latest=NOW)
    assert (row, found) == (reading_row(json.dumps(GOOD).encode(), 1, latest=NOW), sender)
    rejected = json.dumps(GOOD | {"ts": "never", "instance": told}).encode()
    assert parse.identity(rejected) == (1_795_000_000_000, 7, sender)


def test_an_unusual_reading_is_taken_too() -> None:
    payload = json.dumps(
        GOOD | {"ts": "2026-11-23T12:59:59.125999+01:00", "voltage": "231.2", "extra": []}
    ).encode()
    assert reading_row(payload, "m", latest=NOW)[:5] == ("m", 1_795_000_000_000, 7, NOW - 875, 231.2)


# fmt: off
BAD_READINGS = {
    "empty": (b"", "is not JSON"),
    "cut": (b'{"epoch":1,"seq"', "is not JSON"),
    "not UTF-8": (b'{"epoch":1,"seq":1,"ts":"\xff"}', "is not JSON"),
    "a list": (b"[]", "Input should be an object"),
    "no seq": (b'{"epoch":1,"ts":"2026-11-23T12:00:00.000Z"}', "seq: Field required"),
    "seq 0": (json.dumps(GOOD | {"seq": 0}), "seq: Input should be greater than or equal to 1"),
    "1970": (json.dumps(GOOD | {"ts": "1970-01-01T00:00:00.000Z"}),
             "ts: is before 2020: the sender's clock was never set"),
    "without time zone": (json.dumps(GOOD | {"ts": "2026-11-23T12:00:00.000"}),
                          "ts: Input should have timezone info"),
    "future": (json.dumps(GOOD | {"ts": "2026-11-23T12:00:00.001Z"}), "ts: is in the future"),
    "1 MB": (b'{"pad":"' + b"x" * 1_000_000 + b'"}', "is larger than 16384 bytes"),
    "deep": (b"[" * 4_000, "is not JSON"),
}
# fmt: on


@pytest.mark.parametrize(("payload", "cause"), BAD_READINGS.values(), ids=BAD_READINGS.keys())
def test_a_bad_reading_is_rejected_with_its_cause(payload: bytes | str, cause: str) -> None:
    data = payload.encode() if isinstance(payload, str) else payload
    with pytest.raises(RejectedError) as caught:
        reading_row(data, 1, latest=NOW)
    assert str(caught.value) == cause


def test_a_control_character_costs_no_message() -> None:
    """PostgreSQL takes no NUL: it is replaced, where it counts, and nothing where it does not."""
    payload = (
        rb'{"command_id":"c","outcome":"done","reason":"a\u0000\u001b","ts":"%s","of_tomorrow":"\u0000"}'
    )
    told = parse.message(Result, payload % b"2026-11-23T12:00:00.000Z")
    assert told.reason == "a\ufffd\ufffd"


# fmt: off
UNREADABLE: dict[str, tuple[dict[str, object], object]] = {
    "origin of a newer meter": ({"origin": {"category": "fire", "identifier": "anna", "via": "x"}}, "anna"),
    "origin that is none": ({"origin": "anna"}, None),
    "position": ({"position": "half"}, None), "cause": ({"cause": "by hand, at the meter"}, None),
    "time": ({"issued_at": "yesterday", "expires_at": 0}, None),
}
# fmt: on


@pytest.mark.parametrize(("fields", "issuer"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_beside_a_result_hides_no_switching(
    fields: dict[str, object], issuer: str | None
) -> None:
    told = {"command_id": "c", "outcome": "done", "ts": "2026-11-23T12:00:00.000Z", **fields}
    result = parse.message(Result, json.dumps(told).encode())
    assert result.outcome == "done"
    assert (result.origin and result.origin.identifier) == issuer
    assert {result.position, result.cause, result.issued_at, result.expires_at} == {None}


# fmt: off
BAD_QUANTITIES: dict[str, tuple[str, object, object]] = {
    "power factor": ("power_factor", 1.0000001, 1.0000001), "current": ("current", -0.001, -0.001),
    "voltage": ("voltage", -1, -1.0), "energy": ("energy", 1e13, 1e13),
    "frequency": ("frequency", 1001, 1001.0), "power": ("power", -1e13, -1e13),
    "alarm": ("alarm", "overload", "overload"), "NaN": ("voltage", float("nan"), "nan"),
    "text": ("voltage", "much", "much"), "object": ("voltage", {}, "{}"),
    "infinity": ("power", float("-inf"), "-inf"), "huge": ("energy", 10**400, "beyond all limits"),
    "huger": ("energy", "x" * 9_000, "x" * 64), "NUL": ("alarm", "a\0", "a\ufffd"),
    "true": ("voltage", True, "True"), "false": ("energy", False, "False"),
}
# fmt: on


@pytest.mark.parametrize(("name", "told", "kept"), BAD_QUANTITIES.values(), ids=BAD_QUANTITIES.keys())
def test_a_bad_quantity_is_absent_and_kept_beside(name: str, told: object, kept: object) -> None:
    good = {"voltage": 231.2, "current": 0.5, "power": 3, "power_factor": 0.1, "frequency": 50, "energy": 7}
    row = reading_row(json.dumps(GOOD | good | {name: told}).encode(), 1, latest=NOW)
    found, names = reading_of(row), (*QUANTITIES, "alarm")
    assert {n: getattr(found, n) for n in names} == {n: None if n == name else good.get(n) for n in names}
    assert json.loads(row[OTHER]) == {name: kept}
    assert parse.refused(row) == [name]


@given(st.binary(max_size=300))
def test_noise_is_rejected_and_nothing_else(noise: bytes) -> None:
    for parser in (
        lambda data: reading_row(data, 1, latest=NOW),
        lambda data: parse.message(Birth, data),
    ):
        with pytest.raises(RejectedError):
            parser(noise)
    assert parse.command_id(noise) == ""


def test_history_items_one_by_one() -> None:
    payload = json.dumps({"readings": [GOOD, "no reading", {"seq": 1}]}).encode()
    assert [json.loads(item) for item in parse.history_items(payload)] == [GOOD, "no reading", {"seq": 1}]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'{"readings":[]}',
        b'{"readings":{}}',
        b'{"readings":"ab"}',
        b'{"readings":[' + b"1," * 1000 + b"1]}",
    ],
)
def test_no_history_is_rejected(payload: bytes) -> None:
    with pytest.raises(RejectedError):
        parse.history_items(payload)


def test_which_reading_was_rejected() -> None:
    assert parse.identity(json.dumps(GOOD | {"voltage": "much"}).encode()) == (
        1_795_000_000_000,
        7,
        NO_INSTANCE,
    )
    for broken in (
        b"",
        b"[]",
        b'{"epoch":1}',
        b'{"epoch":1,"seq":-1}',
        b'{"epoch":1,"seq":"2"}',
        b'{"epoch":true,"seq":2}',
    ):
        assert parse.identity(broken) is None


def test_which_command_was_rejected() -> None:
    assert parse.command_id(b'{"command_id":"c-1","position":"half"}') == "c-1"
    for broken in (b"", b"[]", b'{"command_id":7}', b'{"command_id":"no good"}', b'{"command_id":null}'):
        assert parse.command_id(broken) == ""
