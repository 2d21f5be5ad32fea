"""The guard before the library: what it lets through, what it answers, what it ends; without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_bridge.guard.ber import MalformedError, check
from mms_bridge.guard.judge import Action, Guard
from mms_bridge.guard.rules import SERVICES
from mms_bridge.guard.transport import Message, Stream, packets
from tests.hostile.capture import load
from tests.support.mms_pdus import (
    ERROR,
    REJECT,
    RESPONSE,
    command,
    confirmed,
    define,
    message,
    number,
    object_name,
    pdu_of,
    read,
    text,
    tlv,
    write,
)

OPER = object_name("D", "CSWI1$CO$Pos$Oper")
SBOW = object_name("D", "CSWI1$CO$Pos$SBOw")
CANCEL = object_name("D", "CSWI1$CO$Pos$Cancel")
VOLTAGE = object_name("D", "MMXN1$MX$Vol")
CLOSE = command(close=True)
ACCEPT = b"\x03\0\0\x10\x02\xf0\x80\x0e"
ADDRESS = tlv(0xA1, number(7, 0x80))
ALL_SERVICES = bytes.fromhex("ffffffffffffffffffff18")


def block(attribute: str, kind: str = "BR") -> bytes:
    """An attribute of a report control block."""
    return object_name("D", f"LLN0${kind}$b01${attribute}")


def of(attribute: str, value: bytes, kind: str = "BR") -> bytes:
    """A Write of one attribute."""
    return write((block(attribute, kind), value))


def associated() -> Guard:
    """A guard whose association the server has accepted."""
    guard = Guard()
    guard.heard(ACCEPT)
    return guard


def judge(guard: Guard, pdu: bytes) -> Action:
    """What becomes of a PDU."""
    data = message(pdu)
    return guard.judge(Message(packets(data), data))


def answer(service: bytes) -> bytes:
    """The guard's answer to a request; empty if the library has it."""
    action = judge(associated(), confirmed(service, 300))
    assert not action.ends
    assert bool(action.forward) != bool(action.reply)
    return replies(action)[-1] if action.reply else b""


def replies(action: Action) -> list[bytes]:
    """The PDUs of an answer."""
    left, found = action.reply, []
    while left:
        size = int.from_bytes(left[2:4])
        found.append(pdu_of(left[7:size]))
        left = left[size:]
    return found


def failures(*errors: int) -> bytes:
    """A response to Write in which every variable failed."""
    return tlv(RESPONSE, bytes.fromhex("0202012c"), tlv(0xA5, *(bytes((0x80, 1, error)) for error in errors)))


def error(code: int) -> bytes:
    """A Confirmed-ErrorPDU of class access."""
    return tlv(ERROR, bytes.fromhex("8002012c"), tlv(0xA2, tlv(0xA0, bytes((0x87, 1, code)))))


def reject(reason: int) -> bytes:
    """A RejectPDU."""
    return tlv(REJECT, bytes.fromhex("8002012c"), bytes((0x81, 1, reason)))


REFUSED = {
    "FileOpen beyond the end": (
        tlv(0xBF48, tlv(0xA0, tlv(0x19, b"/SCL/a.cid")), number(10**7, 0x81)), reject(1),
    ),
    "FileOpen without a name": (tlv(0xBF48, tlv(0xA0), number(0, 0x81)), reject(1)),
    "FileRead": (tlv(0x9F49, b"\x01"), reject(1)),
    "FileDirectory": (tlv(0xBF4D), reject(1)),
    "ObtainFile": (tlv(0xBF2E, tlv(0xA1, tlv(0x19, b"a"))), reject(1)),
    "ReadJournal": (tlv(0xBF41, tlv(0xA0, object_name("D", "j"))), reject(1)),
    "DefineNamedVariable": (tlv(0xA7, object_name("D", "v")), reject(1)),
    "a list of the whole server": (define(tlv(0x80, b"ours"), VOLTAGE), error(3)),
    "a list of a logical device": (define(object_name("D", "LLN0$ours"), VOLTAGE), error(3)),
    "a list without a name": (define(tlv(0x82), VOLTAGE), error(3)),
    "a list without members": (define(tlv(0x82, b"mine")), error(1)),
    "a list of 101 members": (define(tlv(0x82, b"mine"), *[VOLTAGE] * 101), error(1)),
    "a list with a member of the whole server": (define(tlv(0x82, b"mine"), tlv(0x80, b"v")), error(1)),
    "delete all lists": (tlv(0xAD, b"\x80\x01\x02"), error(1)),
    "read by address": (tlv(0xA4, tlv(0xA1, tlv(0xA0, tlv(0x30, ADDRESS)))), error(1)),
    "attributes by address": (tlv(0xA6, ADDRESS), error(1)),
    "write by address": (
        tlv(0xA5, tlv(0xA0, tlv(0x30, ADDRESS)), tlv(0xA0, number(1))), failures(9),
    ),
    "write of a list's values": (
        tlv(0xA5, tlv(0xA1, object_name("D", "LLN0$ds")), tlv(0xA0, number(1))), error(1),
    ),
    "fewer values than variables": (
        tlv(0xA5, tlv(0xA0, *[tlv(0x30, tlv(0xA0, VOLTAGE))] * 2), tlv(0xA0, number(1))), reject(4),
    ),
    "an Oper and a value": (write((VOLTAGE, number(1)), (OPER, CLOSE)), failures(9, 9)),
    "two Opers": (write((OPER, CLOSE), (OPER, CLOSE)), failures(9, 9)),
    "an Oper and a select of another": (
        write((OPER, CLOSE), (object_name("E", "CSWI1$CO$Pos$SBOw"), CLOSE)), failures(9, 9),
    ),
    "a part of Oper": (write((object_name("D", "CSWI1$CO$Pos$Oper$ctlNum"), number(1))), failures(3)),
    "all of CO": (write((object_name("D", "CSWI1$CO$Pos"), CLOSE)), failures(3)),
    "Oper with ctlNum 256": (write((OPER, command(close=True, ctl_num=256))), failures(11)),
    "Oper with ctlNum -1": (write((OPER, CLOSE.replace(number(1), number(-1), 1))), failures(11)),
    "SBOw with ctlNum 256": (write((SBOW, command(close=True, ctl_num=256))), failures(11)),
    "Cancel with ctlNum 256": (write((CANCEL, command(close=True, ctl_num=256, check=False))), failures(11)),
    "Oper as a number": (write((OPER, number(1))), failures(7)),
    "Oper without origin": (write((OPER, tlv(0xA2, *[tlv(0x83, b"\0")] * 6))), failures(7)),
    "ResvTms 32768": (of("ResvTms", number(32768)), failures(11)),
    "ResvTms -2": (of("ResvTms", number(-2, 0x85)), failures(11)),
    "RptID of 300 characters": (of("RptID", text("x" * 300)), failures(11)),
    "OptFlds of 5 bits": (of("OptFlds", tlv(0x84, b"\x03\xf8")), failures(11)),
    "OptFlds of 16 bits": (of("OptFlds", tlv(0x84, b"\x00\xff\xff")), failures(11)),
    "TrgOps of 8 bits": (of("TrgOps", tlv(0x84, b"\x00\xff")), failures(11)),
    "BufTm of 2**32": (of("BufTm", number(2**32)), failures(11)),
    "EntryID of 9 octets": (of("EntryID", tlv(0x89, bytes(9))), failures(11)),
    "RptEna as a number": (of("RptEna", number(1)), failures(7)),
    "a buffered block on @mine": (of("DatSet", text("@mine")), failures(11)),
    "one of two values": (
        write((block("BufTm"), number(100)), (block("ResvTms"), number(32768))), failures(11, 11),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: name.replace(" ", "_"))
def test_the_library_never_sees(name: str) -> None:
    service, expected = REFUSED[name]
    assert answer(service).hex() == expected.hex()


TAKEN = {
    "status": tlv(0x80, b"\0"),
    "identify": tlv(0x82),
    "read": read(VOLTAGE, OPER),
    "attributes": tlv(0xA6, tlv(0xA0, VOLTAGE)),
    "a list of the association": define(tlv(0x82, b"mine"), *[VOLTAGE] * 100),
    "delete it": tlv(0xAD, b"\x80\x01\x00", tlv(0xA1, tlv(0x82, b"mine"))),
    "Oper": write((OPER, CLOSE)),
    "ctlNum 255 as clients write it": write((OPER, command(close=True, ctl_num=255))),
    "orCat 9, which the library refuses": write((OPER, command(close=True, category=9))),
    "Cancel": write((CANCEL, command(close=True, check=False))),
    "ResvTms 32767": of("ResvTms", number(32767, 0x85)),
    "ResvTms -1": of("ResvTms", number(-1, 0x85)),
    "RptID of 129 characters": of("RptID", text("x" * 129)),
    "OptFlds": of("OptFlds", tlv(0x84, b"\x06\x7f\x00")),
    "IntgPd of 2**32 - 1": of("IntgPd", number(2**32 - 1)),
    "an unbuffered block on @mine": of("DatSet", text("@mine"), "RP"),
    "two values": write((block("BufTm"), number(100)), (block("IntgPd"), number(1000))),
}


@pytest.mark.parametrize("name", TAKEN, ids=lambda name: name.replace(" ", "_"))
def test_the_library_has(name: str) -> None:
    assert answer(TAKEN[name]) == b""


def test_what_clients_send_reaches_the_library() -> None:
    """All that was recorded of two clients, but for files and data sets that outlive an association."""
    refused = []
    for session in load():
        stream, guard = Stream(), Guard()
        for number_, packet in enumerate(session.packets):
            stream.feed(packet)
            one = stream.next()
            assert one is not None
            action = guard.judge(one)
            if number_ == 1:
                guard.heard(ACCEPT)
            if action.forward:
                assert action.forward == packet
            else:
                refused.append(f"{session.name}: {action.rule}")
    assert set(refused) == {"files: service", "dynamic: list"}


def test_short_requests_need_one_look_only() -> None:
    guard = associated()
    assert guard.lets_through(packets(message(confirmed(read(VOLTAGE), 7))))
    guard.heard(packets(message(tlv(RESPONSE, number(6, 0x02), tlv(0xA4, tlv(0xA1))))))
    assert not guard.answered, "another request's"
    guard.heard(packets(message(tlv(RESPONSE, number(7, 0x02), tlv(0xA4, tlv(0xA1))))))
    assert guard.answered
    for service in (write((OPER, CLOSE)), tlv(0x9F49, b"\1"), read(*[VOLTAGE] * 9), tlv(0x82) * 2):
        assert not associated().lets_through(packets(message(confirmed(service))))
    assert not Guard().lets_through(packets(message(confirmed(read(VOLTAGE))))), "no association yet"


def test_a_conclude_is_answered_and_the_association_ended() -> None:
    action = judge(associated(), bytes.fromhex("8b00"))
    assert (pdu_of(action.reply[7:]).hex(), action.ends, action.forward) == ("8c00", True, b"")


def test_a_cancel_needs_the_number_of_its_select() -> None:
    guard = associated()
    select = judge(guard, confirmed(write((SBOW, command(close=True, ctl_num=5))), 1))
    assert select.forward
    guard.heard(packets(message(tlv(RESPONSE, number(1, 0x02), bytes.fromhex("a5028100")))))
    wrong = judge(guard, confirmed(write((CANCEL, command(close=True, ctl_num=6, check=False))), 2))
    assert replies(wrong)[-1].hex() == tlv(RESPONSE, number(2, 2), bytes.fromhex("a503800103")).hex()
    right = judge(guard, confirmed(write((CANCEL, command(close=True, ctl_num=5, check=False))), 3))
    assert right.forward
    assert judge(guard, confirmed(write((CANCEL, command(close=True, ctl_num=6, check=False))), 4)).forward


def test_what_the_library_leaves_is_answered() -> None:
    guard = associated()
    assert judge(guard, confirmed(read(VOLTAGE), 9)).asks
    assert guard.missing().reply
    judge(guard, confirmed(read(VOLTAGE), 10))
    guard.heard(packets(message(tlv(RESPONSE, number(10, 0x02), tlv(0xA4, tlv(0xA1))))))
    assert not guard.missing().reply
    judge(guard, confirmed(write((OPER, CLOSE)), 11))
    assert not guard.missing().reply, "the response to an Oper may come later"


def test_an_answer_is_found_behind_reports_that_were_cut_anywhere() -> None:
    """A buffer that a client has missed is more than one read: what is read next begins within a TPKT."""
    told = packets(message(tlv(0xA3, tlv(0xA0, bytes(300))))) * 5
    answered = packets(message(tlv(RESPONSE, number(9, 0x02), tlv(0xA4, tlv(0xA1)))))
    for cut in range(1, len(told)):
        guard = associated()
        assert judge(guard, confirmed(read(VOLTAGE), 9)).asks
        for piece in (told[:cut], told[cut:] + answered):
            assert not guard.answered
            assert guard.heard(piece) == piece
        assert not guard.missing().reply, "a second answer"
        assert judge(guard, confirmed(read(VOLTAGE), 10)).asks
        guard.heard(packets(message(tlv(RESPONSE, number(10, 0x02), tlv(0xA4, tlv(0xA1))))))
        assert guard.answered


def test_initiate_lists_what_is_served() -> None:
    sent = ACCEPT + b"..." + b"\x82\x0c\x03" + ALL_SERVICES + b"end"
    told = Guard().heard(sent)
    served = f"{int.from_bytes(told[-14:-3]):088b}"
    assert [bit for bit, is_set in enumerate(served) if is_set == "1"] == [
        0,
        1,
        2,
        4,
        5,
        6,
        11,
        12,
        13,
        79,
        83,
    ]
    assert len(told) == len(sent)


@pytest.mark.parametrize(
    ("request_", "forwarded"),
    [
        ("0300000b06e00000000100", "0300000b06e00000000100"),
        ("0300000e09e00000000140c70100", "0300000e09e00000000100c70100"),  # class 4, or 0
        ("0300000b06e00000000140", ""),
    ],
)
def test_only_class_0_is_negotiated(request_: str, forwarded: str) -> None:
    action = Guard().judge(Message(bytes.fromhex(request_), None))
    assert action.forward.hex() == forwarded
    assert action.ends == bool(action.reply) == (not forwarded)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01\x00", b"\x01\x00\x01\x00\x61\x80", message(b"\xa0\x03")[:-1], b"\x0d\x00"],
)
def test_no_message_ends_the_association(data: bytes) -> None:
    assert associated().judge(Message(packets(data), data)).ends


def test_data_before_the_association_ends_it() -> None:
    data = message(confirmed(read(VOLTAGE)))
    guard = Guard()
    guard.judge(Message(bytes.fromhex("0300000b06e00000000100"), None))
    assert guard.judge(Message(packets(data), data)).ends


@pytest.mark.parametrize("pdu", ["a100", "a30161", "a000", "a003020101", "a0020201", "85020101", "a0800000"])
def test_no_confirmed_request_is_rejected(pdu: str) -> None:
    action = judge(associated(), bytes.fromhex(pdu))
    assert pdu_of(action.reply[7:]).hex() == "a4038b0101"
    assert not action.forward


def test_depth_and_number_are_limited() -> None:
    deep = b""
    for _ in range(30):
        deep = tlv(0xA2, deep)
    with pytest.raises(MalformedError, match="deep"):
        check(deep)
    with pytest.raises(MalformedError, match="many"):
        check(tlv(0xA2, b"\x80\0" * 20_001))


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4), st.integers(1, 200))
def test_messages_are_found_in_any_pieces(messages: list[bytes], size: int) -> None:
    whole = b"".join(packets(one) for one in messages)
    stream, found = Stream(), []
    for at in range(0, len(whole), size):
        stream.feed(whole[at : at + size])
        while (one := stream.next()) is not None:
            found.append(one)
    assert [one.data for one in found] == messages
    assert b"".join(one.raw for one in found) == whole


@given(st.binary(max_size=80), st.sampled_from(sorted(SERVICES)))
def test_any_request_is_forwarded_answered_or_the_end(octets: bytes, tag: int) -> None:
    for pdu in (octets, confirmed(tlv(tag, octets)), confirmed(tlv(tag) + octets)):
        action = judge(associated(), pdu)
        short = associated().lets_through(packets(message(pdu)))
        assert not short or (action.forward and action.asks), "the short look takes nothing else"
        assert bool(action.forward) + bool(action.reply) + action.ends <= 2
        assert action.forward in (b"", packets(message(pdu)))
