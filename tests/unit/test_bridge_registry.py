"""Registry and ledger: how one message changes one row."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address

import pytest
from sqlmodel import Session, SQLModel, create_engine

from bridge.ingest import ledger, registry
from bridge.ingest.ied_names import ied_name, ied_number, next_ied
from bridge.mqtt.notice import BadCommand, Notice, Withdrawal
from bridge.scl.history import changes
from bridge.scl.ieds import Ieds
from bridge.store.ld_names import LdNames
from bridge.store.tables import Command as LedgerRow
from bridge.store.tables import Meter, Setting, at_ms
from broker.contract.birth import Birth, Hardware
from broker.contract.commands import TIMED_OUT
from broker.contract.messages import MAX_SEQ, utc_now
from broker.contract.relay import Command, Origin, OriginCategory, Position, Relay
from broker.contract.result import Outcome, Refusal, Result
from broker.contract.status import Status
from broker.mqtt.packets import DUP, RETAIN, Publish
from scl_builder.model import logical_devices
from scl_builder.model.data_object import DataObject, LogicalNode
from scl_builder.model.logical_devices import SINGLE_PHASE, Profile

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
TS = utc_now()


def birth(session: str = "s1", **fields: object) -> Birth:
    values = {
        "name": "n",
        "hardware": Hardware(serial="1"),
        "firmware": "1",
        "interval": 10,
        "session": session,
        "ts": TS,
    }
    return Birth.model_validate(values | fields)


def status(session: str, *, online: bool, outbox: int = 0) -> Status:
    return Status(online=online, session=session, ts=TS, outbox=outbox)


def fold(*messages: Birth | Status | Withdrawal) -> Meter:
    meter = Meter(meter_id=METER, first_seen=1, last_seen=1)
    for message in messages:
        registry.fold(message, meter, 2)
    return meter


def test_a_meter_whose_relay_was_taken_out_shows_none() -> None:
    relay = Relay(position=Position.OPEN, operations=7, local=True, ts=TS)
    meter = Meter(meter_id=METER, first_seen=1, last_seen=1)
    for message in (birth(), relay, birth(relay=False), relay):
        registry.fold(message, meter, 2)
    assert (meter.has_relay, meter.relay, meter.relay_operations, meter.relay_at) == (False, "", 0, None)
    for message in (birth(), relay):
        registry.fold(message, meter, 2)
    assert (meter.has_relay, meter.relay) == (True, "open")


def test_an_old_will_does_not_mark_a_new_session_offline() -> None:
    old, new = status("s1", online=True), status("s2", online=True)
    assert fold(birth("s1"), old, birth("s2"), new, status("s1", online=False)).online
    assert not fold(birth("s1"), old, birth("s2"), new, status("s2", online=False)).online


def test_an_old_will_between_birth_and_status_changes_nothing() -> None:
    meter = fold(birth("s1"), status("s1", online=True), birth("s2"), status("s1", online=False))
    assert (meter.online, meter.session) == (True, "s2")


def test_a_birth_alone_does_not_put_a_meter_online() -> None:
    assert not fold(birth()).online
    assert not fold(status("s1", online=False), birth("s1")).online


def test_every_coming_and_going_is_counted_once() -> None:
    """confRev is made of these: it only goes up, and does so whenever an IED's members change."""
    assert fold(status("s1", online=True)).changes == 0
    assert fold(Withdrawal()).changes == 0
    assert fold(birth("s1"), birth("s2", name="Other")).changes == 1
    assert fold(birth("s1"), Withdrawal(), Withdrawal()).changes == 2
    assert fold(birth("s1"), Withdrawal(), birth("s2"), birth("s3")).changes == 3


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (["power", "energy"], ["power"], 1),  # a meter of today has all data objects, whatever it names
        (["power", "energy"], ["power", "energy_import", "energy_export"], 2),
        (["power", "energy_import"], ["power", "energy_import", "energy_export"], 2),
        (["power_l1", "power_l2"], ["power_l2", "power_l1"], 1),
        (["power_l1", "power_l2"], ["power_l1", "power_l2", "unbalance_u"], 1),  # no data object shows it
        (["power_l1", "power_l2"], ["power_l1", "power_l2", "power_l3"], 2),
    ],
)
def test_a_birth_with_other_data_objects_is_a_new_configuration(
    before: list[str], after: list[str], changes: int
) -> None:
    first, then = fold(birth(quantities=before)), fold(birth(quantities=before), birth(quantities=after))
    assert then.changes == changes, "confRev of the groups"
    assert (registry.face(first) != registry.face(then)) is (changes == 2), "the SCD is made anew"


def test_what_a_meter_measures_decides_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    node = LogicalNode("MMXU", "1", "MMXU", (DataObject("Hz", "MV", "reading.hz_l1", unit="Hz"),))
    other = Profile("other", (node,))
    monkeypatch.setattr(logical_devices, "PROFILES", (SINGLE_PHASE, other))
    before = fold(birth())
    assert registry.profile_of(before) is SINGLE_PHASE
    meter = fold(birth(), birth(quantities=["hz_l1"]), birth(quantities=["hz_l1", "hz_l2"]))
    assert registry.profile_of(meter) is other
    assert meter.changes == 2, "it joins and leaves data sets once"
    assert registry.face(meter) != registry.face(before), "the SCD is made anew"
    meter.key, meter.number, meter.ied = 1, 1, "SMGW001"
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all((meter, Setting(name="ld_names", value=LdNames.NUMBER)))
        session.flush()
        (ied,) = Ieds(IPv4Address("127.0.0.1"), 102, None).read(session)
    assert [one.profile for one in ied.meters] == [other]


def test_an_outbox_beyond_the_database_s_integers_is_kept_as_the_largest() -> None:
    assert fold(status("s1", online=True, outbox=10**30)).outbox == MAX_SEQ


def test_ieds_fill_up_and_the_first_with_room_is_taken() -> None:
    assert next_ied({}, limit=2) == "SMGW001"
    assert next_ied({"SMGW001": 2}, limit=2) == "SMGW002"
    assert next_ied({"SMGW001": 2, "SMGW002": 2, "SMGW003": 1}, limit=2) == "SMGW003"
    assert next_ied({"SMGW001": 2, "SMGW002": 2}, limit=3) == "SMGW001"


def test_an_ied_is_chosen_among_those_of_an_address_code() -> None:
    filled = {"SMGW001": 1, "SMGW002": 2, "SMGW004": 1}
    assert next_ied(filled, limit=2, among={"SMGW002", "SMGW004"}) == "SMGW003"
    assert next_ied(filled, limit=2, among={"SMGW001"}) == "SMGW001"
    assert next_ied({"SMGW001": 1}, limit=2, among=set()) == "SMGW002"
    assert next_ied({}, limit=2, among=set()) == "SMGW001"


@pytest.mark.parametrize("number", [1, 50, 999, 1000, 12_345])
def test_the_number_of_an_ied(number: int) -> None:
    assert ied_number(ied_name(number)) == number


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"a": 1}, "1 meter added"),
        ({}, {"a": 1, "b": 1}, "2 meters added"),
        ({"a": 1, "b": 1}, {"a": 2, "c": 1}, "1 meter added, 1 withdrawn, 1 changed"),
        ({"a": 1, "b": 1}, {}, "2 meters withdrawn"),
        ({"a": 1}, {"a": 1}, "settings changed"),
    ],
)
def test_what_changed_in_words(before: dict[str, int], after: dict[str, int], words: str) -> None:
    assert changes(before, after) == words


COMMAND = Command(
    command_id="c-1",
    position=Position.OPEN,
    issued_at=TS,
    expires_at=TS,
    origin=Origin(category=OriginCategory.REMOTE_CONTROL, identifier="op"),
)
DONE = Result(command_id="c-1", outcome=Outcome.DONE, ts=TS)
REPEATED = Result(command_id="c-1", outcome=Outcome.REFUSED, reason="repeated", ts=TS)


def enter(*messages: Command | Result | Refusal | BadCommand, flags: int = 0) -> LedgerRow:
    row = LedgerRow(command_id="c-1", meter_id=METER, received_at=1)
    for message in messages:
        ledger.enter(message, row, Notice(METER, message, Publish(b"t", b"", b"", flags)))
    return row


def test_a_command_and_its_result() -> None:
    row = enter(COMMAND, DONE)
    assert (row.position, row.origin_category, row.origin_identifier) == ("open", "remote-control", "op")
    assert (row.outcome, row.reason, row.repeats) == ("done", "", 0)


def test_the_first_outcome_stands() -> None:
    row = enter(COMMAND, DONE, COMMAND, REPEATED)
    assert (row.outcome, row.reason) == ("done", "")
    failed = REPEATED.model_copy(update={"outcome": Outcome.FAILED})
    assert enter(COMMAND, REPEATED, failed).outcome == "refused"


def delivery(*, flags: int = 0) -> Notice:
    return Notice(METER, COMMAND, Publish(b"t", b"", b"", flags))


def test_a_delivery_that_the_broker_repeats_is_no_repeated_command() -> None:
    hearing = ledger.Hearing()
    assert hearing.repeated(delivery())
    assert not hearing.repeated(delivery(flags=DUP))
    assert not hearing.repeated(delivery(flags=RETAIN))


def test_in_a_group_the_leader_counts_what_it_has_heard_twice() -> None:
    """Another bridge may have written the command already, and a commit may be tried again."""
    for leads in (True, False):
        hearing, first = ledger.Hearing(partial(bool, leads)), delivery()
        assert [hearing.repeated(first), hearing.repeated(first)] == [False, False]
        assert hearing.repeated(delivery()) is leads


def test_a_retained_command_is_refused() -> None:
    row = enter(COMMAND, COMMAND, flags=RETAIN)
    assert (row.retained, row.outcome, row.reason, row.repeats) == (True, "refused", ledger.RETAINED, 0)


def test_a_result_before_its_command_or_without() -> None:
    assert (enter(DONE).outcome, enter(DONE).position) == ("done", "")
    row = enter(DONE, COMMAND)
    assert (row.outcome, row.position, row.repeats) == ("done", "open", 0)


def test_a_refusal_tells_the_whole_command() -> None:
    row = enter(Refusal(meter_id=METER, command=COMMAND, reason="meter is offline", ts=TS))
    assert (row.position, row.origin_identifier, row.outcome, row.reason) == (
        "open",
        "op",
        "refused",
        "meter is offline",
    )


REFUSAL = Refusal(meter_id=METER, command=COMMAND, reason="the broker went away", ts=TS)


def test_what_the_meter_did_counts_more_than_what_a_service_refused() -> None:
    """The service lost the broker while it sent the command, and the meter had it."""
    row = enter(REFUSAL, COMMAND, DONE)
    assert (row.outcome, row.reason) == ("done", "told as refused before: the broker went away")
    row = enter(REFUSAL, REPEATED)
    assert (row.outcome, row.reason) == ("refused", "repeated; told as refused before: the broker went away")
    for messages in ((REFUSAL, DONE, REPEATED), (COMMAND, DONE, REFUSAL), (REFUSAL, DONE, REFUSAL)):
        assert enter(*messages).outcome == "done"


def test_nothing_but_the_meters_result_changes_a_refusal() -> None:
    other = REFUSAL.model_copy(update={"reason": "another"})
    bad = BadCommand(command_id="c-1", reason="position: wrong")
    for messages in ((REFUSAL, other), (REFUSAL, bad), (REFUSAL, COMMAND)):
        row = enter(*messages)
        assert (row.outcome, row.reason) == ("refused", "the broker went away")


def test_done_ends_an_entry_as_done_whatever_was_thought_of_the_command() -> None:
    """The relay has moved: an entry that says otherwise would hide it."""
    bad = BadCommand(command_id="c-1", reason="position: wrong")
    for first, told in ((bad, "refused"), (REPEATED, "refused"), (REFUSAL, "refused")):
        row = enter(first, DONE, REPEATED, REFUSAL)
        assert row.outcome == "done"
        assert row.reason.startswith(f"told as {told} before: ")
    row = enter(COMMAND, DONE, flags=RETAIN)
    assert (row.outcome, row.reason) == ("done", f"told as refused before: {ledger.RETAINED}")


def test_after_a_time_out_a_result_is_the_late_outcome_and_done_is_the_outcome() -> None:
    row = enter(COMMAND)
    row.outcome, row.reason = TIMED_OUT, "the meter did not answer"
    for message, told in (
        (REFUSAL, (TIMED_OUT, "refused")),
        (REPEATED, (TIMED_OUT, "refused")),
        (DONE, ("done", "")),
        (REPEATED, ("done", "")),
    ):
        ledger.enter(message, row, Notice(METER, message, Publish(b"t", b"", b"", 0)))
        assert (row.outcome, row.late_outcome) == told
    assert row.reason == "told as timed out before: the meter did not answer"


def test_a_result_tells_of_the_command_what_nobody_else_did() -> None:
    told = {name: getattr(COMMAND, name) for name in ("position", "issued_at", "expires_at", "origin")}
    whole = DONE.model_copy(update=told)
    for messages in ((whole,), (BadCommand(command_id="c-1", reason="wrong"), whole), (COMMAND, whole)):
        row = enter(*messages)
        assert (row.outcome, row.position, row.origin_identifier) == ("done", "open", "op")
        assert (row.issued_at, row.expires_at) == (at_ms(COMMAND.issued_at), at_ms(COMMAND.expires_at))


def test_a_command_that_does_not_parse_is_refused() -> None:
    row = enter(BadCommand(command_id="c-1", reason="position: wrong"), REPEATED)
    assert (row.position, row.outcome, row.reason) == ("", "refused", "position: wrong")
