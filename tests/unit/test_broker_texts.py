"""One rule for what a message may hold: all who read a payload take it alike, with the same values."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.ingest import parse
from bridge.ingest.classify import Sorter
from bridge.ingest.parse import RejectedError
from broker.contract import texts
from broker.contract.birth import Birth
from broker.contract.block import Block
from broker.contract.commands import parsed
from broker.contract.enrolment import Access
from broker.contract.known import Known
from broker.contract.messages import Message, format_ts
from broker.contract.relay import Command, Origin
from broker.contract.result import Result
from broker.contract.topics import Topics
from broker.mqtt.packets import Publish
from meter_firmware.relay.rules import UnreadableCommandError, read
from web.live.hub import Hub
from web.live.state import Live

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TOPICS = Topics()
TS = "2026-11-23T12:00:00.000Z"
GOOD: dict[str, Any] = {
    "command_id": "c1",
    "position": "open",
    "issued_at": TS,
    "expires_at": TS,
    "origin": {"category": "remote-control", "identifier": "desk 4", "via": "mms 192.0.2.7"},
}

hostile = st.sampled_from(
    [
        *("\0", "\x1b[2J", "\x85", "\x7f", "\ud800", "\udfff", "\ufffe", "\U0010ffff", "\u202e", "\u2028"),
        *("", " ", "desk", "0x0A000005", "Ä" * 64, "a" * 65, "a" * 300, "null", "open", "OPEN", TS),
    ]
) | st.text(max_size=80)
values = (
    hostile
    | st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.lists(hostile, max_size=2)
    | st.sampled_from(["2026-11-23 12:00:00Z", "2026-11-23T12:00:00", "1795435200", "2026-11-23T12:00+14:00"])
)


def _places() -> list[tuple[str, ...]]:
    return [(name,) for name in (*GOOD, "of_tomorrow")] + [("origin", name) for name in GOOD["origin"]]


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """A command with some odd values, names that stand there twice, or odd octets around it."""
    fields = json.loads(json.dumps(GOOD))
    for place in draw(st.lists(st.sampled_from(_places()), max_size=3)):
        inner = fields
        for name in place[:-1]:
            inner = inner[name] if isinstance(inner.get(name), dict) else fields
        inner[place[-1]] = draw(values)
    text = json.dumps(fields, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        odd = json.dumps({draw(st.sampled_from(sorted(GOOD))): draw(values)})
        text = odd[:-1] + "," + text[1:] if draw(st.booleans()) else text[:-1] + "," + odd[1:]
    before, after = draw(st.sampled_from([("", ""), ("\ufeff", ""), (" \n", "\t"), ("", "x"), ("", "\0")]))
    return (before + text + after).encode(errors="surrogatepass")


def of_meter(payload: bytes) -> Command | None:
    try:
        return read(payload)
    except UnreadableCommandError:
        return None


def of_bridge(payload: bytes) -> Command | None:
    """As the ledger gets it."""
    topic = TOPICS.meter(METER, "command").encode()
    (entry,) = Sorter(TOPICS, keys={}).sort([Publish(topic, payload, b"", 0)], now=0).entries or (None,)
    return entry.message if entry is not None and isinstance(entry.message, Command) else None


def of_bridges_parser(payload: bytes) -> Command | None:
    try:
        return parse.message(Command, payload)
    except RejectedError:
        return None


def of_services(payload: bytes) -> Command | None:
    """MMS bridge, web, registrar."""
    try:
        return Command.model_validate_json(payload)
    except ValidationError:
        return None


def of_cli(payload: bytes) -> Command | None:
    return parsed(Command, payload)


DEEP = b'{"x":' + b"[" * 300 + b"]" * 300 + b"," + json.dumps(GOOD).encode()[1:]


@given(payloads())
@example(json.dumps(GOOD | {"origin": GOOD["origin"] | {"identifier": "\n\0\0\5"}}).encode())
@example(json.dumps(GOOD | {"of_tomorrow": "\0"}).encode())
@example(json.dumps(GOOD | {"origin": GOOD["origin"] | {"identifier": "\ud800"}}).encode())
@example(json.dumps(GOOD).encode() + b" " * Command.MAX_BYTES)
@example(b" " * (Command.MAX_BYTES - 400) + json.dumps(GOOD).encode())
@example(DEEP)
@example(b'{"x":1e999,"y":NaN,' + json.dumps(GOOD).encode()[1:])
@example(b'{"x":' + b"9" * 5000 + b"," + json.dumps(GOOD).encode()[1:])
def test_meter_bridge_and_services_read_the_same_command(payload: bytes) -> None:
    readers = (of_meter, of_bridge, of_bridges_parser, of_services, of_cli)
    told = {reader.__name__: reader(payload) for reader in readers}
    assert len({None if one is None else one.model_dump_json() for one in told.values()}) == 1, told
    command = told["of_meter"]
    if command is not None:
        for text in (command.origin.identifier, command.origin.via or ""):
            assert texts.visible(text) == text.strip()
            assert len(text) <= 255
            text.encode()  # a database can store it
        assert len(command.origin.identifier) <= texts.MAX_HEX
        assert of_services(command.payload()) == command


@given(payloads())
def test_whom_to_answer_is_the_same_for_meter_and_bridge(payload: bytes) -> None:
    told = of_meter(payload)
    with suppress(UnreadableCommandError) if told else pytest.raises(UnreadableCommandError) as caught:
        read(payload)
    if caught is not None:
        assert (caught.value.command_id or "") == parse.command_id(payload)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("desk 4", "desk 4"),
        (b"desk 4", "desk 4"),
        ("Ä" * 64, "Ä" * 64),
        ("\n\0\0\5", "0x0A000005"),
        (b"\n\0\0\5", "0x0A000005"),
        (b"\xff" * 64, "0x" + "FF" * 64),
        ("\u202edesk", "0xE280AE6465736B"),
        ("\udcff", "0xEDB3BF"),
        ("0x" + "FF" * 64, "0x" + "FF" * 64),
    ],
)
def test_an_identifier_that_is_no_text_is_its_octets(told: str | bytes, kept: str) -> None:
    assert texts.identifier(told) == kept
    assert texts.identifier(kept) == kept, "once for ever"


@pytest.mark.parametrize("told", ["", b"", "a" * 65, "0x" + "FF" * 65, "0x" + "ff" * 64])
def test_an_identifier_has_one_to_sixty_four_characters(told: str | bytes) -> None:
    with pytest.raises(ValueError, match="identifier has at"):
        texts.identifier(told)


@given(st.text() | st.text(alphabet="\0\x1b\ud800\ufffea "))
def test_text_is_made_visible_once(text: str) -> None:
    assert texts.visible(texts.visible(text)) == texts.visible(text)
    texts.visible(text).encode()


@pytest.mark.parametrize(
    ("model", "payload"),
    [
        (Birth, {"name": "a\0\x1bb", "hardware": {"serial": "1\0"}, "firmware": "1", "interval": 1}),
        (Result, {"command_id": "c", "outcome": "done", "reason": "a\0\x1bb"}),
        (Origin, {"category": "process", "identifier": "x", "via": "a\0\x1bb"}),
    ],
)
def test_other_text_costs_no_message(model: type[Message], payload: dict[str, Any]) -> None:
    told = model.model_validate_json(json.dumps(payload | {"session": "s", "ts": TS}))
    assert "a\ufffd\ufffdb" in told.model_dump().values()


# --- blocks: what restricts is obeyed, what releases is not ------------------------------------------

ORIGIN = {"category": "remote-control", "identifier": "desk 4"}
ODD: dict[str, dict[str, Any]] = {
    "unknown category": {"origin": ORIGIN | {"category": "load-management"}},
    "long identifier": {"origin": ORIGIN | {"identifier": "x" * 70}},
    "long via": {"origin": ORIGIN | {"via": "x" * 300}},
    "no origin": {"origin": None},
    "origin of another form": {"origin": ["desk"]},
    "time of 2150": {"ts": "2150-01-01T00:00:00Z"},
    "the last moment": {"ts": "2099-12-31T23:59:59.999Z"},
    "no time": {"ts": None},
    "time of 1970": {"ts": "1970-01-01T00:00:00Z"},
    "unreadable time": {"ts": "tomorrow"},
    "unreadable time of a direction": {"open_ts": "tomorrow"},
    "larger than others": {"of_tomorrow": "x" * 100_000},
    "half a character": {"origin": ORIGIN | {"identifier": "\ud800"}},
}
VALID = ("half a character", "larger than others", "the last moment")
"""What of it is valid as a whole, too."""


def known_to_all(*payloads: bytes) -> list[Block | None]:
    """What meter, CLI and web make of these, one after the other."""
    live, cli, meter = Live(TOPICS, Hub()), Known(METER), None
    for payload in payloads:
        live.take(TOPICS.meter(METER, "block"), payload, retained=True)
        cli.take_if_valid("block", payload, live=False)
        if (block := parsed(Block, payload)) is not None:
            meter = block.merged(meter)
    return [meter, cli.block, live.fleet.meter(METER).block]


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("released_before", [False, True])
def test_what_restricts_is_obeyed_although_its_decoration_cannot_be_read(
    odd: dict[str, Any], released_before: bool
) -> None:
    before = {"open": False, "close": True, "ts": "2026-11-23T11:00:00Z", "origin": ORIGIN}
    wanted = {"open": True, "close": False, "ts": TS, "origin": ORIGIN, "of_tomorrow": 1} | odd
    first = [json.dumps(before).encode()] if released_before else []
    for block in known_to_all(*first, json.dumps(wanted).encode()):
        assert block is not None
        assert block.open
        if odd not in [ODD[name] for name in ("half a character", "larger than others")]:
            assert block.close is released_before, "a direction that is not restricted is not released"
        released = Block.changed(block, opening=False, closing=False, origin=block.origin)
        if odd != ODD["the last moment"]:
            assert Block.model_validate_json(released.payload()) == released
        assert not released.merged(block).open, "and it can be released"


NO_JSON = {
    "another encoding": b"J\xfcrg",
    "a line break": b"desk\n4",
    "a zero": b"desk\0",
    "an escape that is none": rb"C:\desk",
    "half an escape": rb"desk \u00g4",
}


@pytest.mark.parametrize("name", NO_JSON.values(), ids=NO_JSON)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
def test_what_restricts_is_obeyed_although_a_name_in_it_is_no_json(name: bytes, mark: bytes) -> None:
    payload = json.dumps({"open": True, "close": False, "ts": TS, "origin": ORIGIN}).encode()
    for block in known_to_all(mark + payload.replace(b"desk 4", name)):
        assert block is not None
        assert (block.open, block.close) == (True, False)
        released = payload.replace(b"true", b"false").replace(b"desk 4", name)
        with pytest.raises(ValidationError):
            Block.model_validate_json(released)


def test_what_restricts_is_obeyed_wherever_the_message_is_cut_short() -> None:
    payload = json.dumps({"open": True, "close": False, "ts": TS, "origin": ORIGIN}).encode()
    released = payload.replace(b"true", b"false")
    for end in range(len(b'{"open": true'), len(payload)):
        for block in known_to_all(payload[:end]):
            assert block is not None, payload[:end]
            assert (block.open, block.close) == (True, False)
    for end in range(len(released)):
        with pytest.raises(ValidationError):
            Block.model_validate_json(released[:end])
    shut = json.dumps({"allowed": False, "reason": "stolen", "ts": TS}).encode()
    assert not Access.model_validate_json(shut[:30]).allowed


@pytest.mark.parametrize("payload", [b"rubbish", b"[true]", b'"open"', b"{'open': True}", b"{", b"\xff\xfe"])
def test_what_names_no_direction_blocks_nothing(payload: bytes) -> None:
    before = json.dumps({"open": False, "close": True, "ts": TS, "origin": ORIGIN}).encode()
    assert known_to_all(payload) == [None] * 3
    assert known_to_all(before, payload) == known_to_all(before)


@pytest.mark.parametrize(
    "odd",
    [{"reason": "x" * 300}, {"reason": 7}, {"ts": None}, {"ts": "2150-01-01T00:00:00Z"}, {"reason": "J?rg"}],
    ids=["long", "a number", "no time", "time of 2150", "another encoding"],
)
def test_a_meter_that_is_shut_out_is_so_although_the_reason_cannot_be_read(odd: dict[str, Any]) -> None:
    def payload(*, allowed: bool) -> bytes:
        fields = {"allowed": allowed, "reason": "stolen", "ts": TS} | odd
        return json.dumps(fields).encode().replace(b"J?rg", b"J\xfcrg")

    shut = Access.model_validate_json(payload(allowed=False))
    assert not shut.allowed
    if odd.get("ts", TS) == TS:
        assert format_ts(shut.ts) == TS, "its time is its own"
    with pytest.raises(ValidationError):
        Access.model_validate_json(payload(allowed=True))


@pytest.mark.parametrize(
    "odd",
    [
        {"origin": ORIGIN | {"category": "load-management"}},
        {"origin": "desk 4"},
        {"position": "half open"},
        {"issued_at": "yesterday"},
        {"expires_at": "2150-01-01T00:00:00Z"},
        {"reason": "x" * 300},
        {"reason": None},
        {"reason": ["a", "list"]},
        {"cause": {"code": 7}},
        {"cause": "of tomorrow, in words"},
        {"ts": "1970-01-01T00:00:00Z"},
        {"ts": None},
    ],
    ids=lambda odd: str(odd)[:40],
)
def test_the_outcome_counts_although_the_rest_of_a_result_cannot_be_read(odd: dict[str, Any]) -> None:
    fields = {"command_id": "c1", "outcome": "done", "ts": TS, "position": "open", "origin": ORIGIN}
    result = Result.model_validate_json(json.dumps(fields | odd))
    assert result.outcome == "done"
    assert "category" not in str(odd) or (result.origin and result.origin.identifier == "desk 4")


def test_the_outcome_counts_although_the_result_is_spoilt_or_cut_short() -> None:
    fields = {"command_id": "c1", "outcome": "done", "reason": "desk", "ts": TS, "position": "open"}
    payload = json.dumps(fields).encode()
    assert Result.model_validate_json(payload.replace(b"desk", rb"C:\desk")).outcome == "done"
    begin = payload.index(b'"done"') + len(b'"done"')
    assert {Result.model_validate_json(payload[:end]).outcome for end in range(begin, len(payload))} == {
        "done"
    }
    for end in range(begin):  # never half of an outcome
        with pytest.raises(ValidationError):
            Result.model_validate_json(payload[:end])


@pytest.mark.parametrize("name", [name for name in ODD if name not in VALID])
def test_what_releases_must_be_valid_as_a_whole(name: str) -> None:
    blocked = {"open": True, "close": True, "ts": "2026-11-23T11:00:00Z", "origin": ORIGIN}
    release = {"open": False, "close": False, "ts": TS, "origin": ORIGIN} | ODD[name]
    for block in known_to_all(json.dumps(blocked).encode(), json.dumps(release).encode()):
        assert block is not None
        assert (block.open, block.close) == (True, True)


def test_a_block_without_a_time_is_one_change_however_often_it_is_heard() -> None:
    payload = json.dumps({"open": True, "origin": ORIGIN}).encode()
    block = Block.model_validate_json(payload)
    known = block.merged(None)
    assert not known.undated
    assert Block.model_validate_json(payload).merged(known) is known
    assert block != known, "so that who hears it publishes it with a time"
