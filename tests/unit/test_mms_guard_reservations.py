"""Which client a buffered block waits for, and what the guard answers to others."""

from __future__ import annotations

from mms_bridge.guard.judge import Guard
from mms_bridge.guard.reservations import Reservations
from mms_bridge.guard.rules import judged
from tests.hostile.layers import packets
from tests.support.mms_pdus import RESPONSE, confirmed, message, number, object_name, tlv, write
from tests.unit.test_mms_guard import ACCEPT, judge

BLOCK = "SMGW001GW/LLN0$BR$brcbPos01"
RESV_TMS = object_name("SMGW001GW", "LLN0$BR$brcbPos01$ResvTms")
RPT_ENA = object_name("SMGW001GW", "LLN0$BR$brcbPos01$RptEna")
ON = tlv(0x83, b"\xff")


def test_a_block_is_its_clients_while_that_is_there_and_for_res_tms_after_it() -> None:
    now = [0.0]
    held = Reservations(now=lambda: now[0])
    held.wrote(BLOCK, "10.0.0.5", 60, by=1)
    now[0] = 1000.0
    assert held.is_others(BLOCK, "10.0.0.6"), "its client is there"
    assert not held.is_others(BLOCK, "10.0.0.5")
    held.left(2)
    held.left(1)
    now[0] = 1059.0
    assert held.is_others(BLOCK, "10.0.0.6")
    assert not held.is_others("SMGW001GW/LLN0$BR$brcbPos02", "10.0.0.6")
    now[0] = 1060.0
    assert not held.is_others(BLOCK, "10.0.0.6")


def test_a_client_that_comes_back_has_it_again_and_zero_gives_it_up() -> None:
    held = Reservations(now=lambda: 0.0)
    held.wrote(BLOCK, "10.0.0.5", 60, by=1)
    held.left(1)
    held.wrote(BLOCK, "10.0.0.5", 5, by=2)
    held.left(1)
    assert held.is_others(BLOCK, "10.0.0.6"), "an association that ended earlier ends nothing"
    held.wrote(BLOCK, "10.0.0.5", 0, by=2)
    assert not held.is_others(BLOCK, "10.0.0.6")


def test_a_write_of_resv_tms_is_known_wherever_it_stands() -> None:
    (alone,) = judged(write((RESV_TMS, number(60, 0x85)))).reservations
    assert (alone.block, alone.seconds, alone.place, alone.variables) == (BLOCK, 60, 0, 1)
    (second,) = judged(write((RPT_ENA, ON), (RESV_TMS, number(300)))).reservations
    assert (second.block, second.seconds, second.place, second.variables) == (BLOCK, 300, 1, 2)
    assert [
        one.place for one in judged(write((RESV_TMS, number(1)), (RESV_TMS, number(2)))).reservations
    ] == [0, 1]
    assert judged(write((RPT_ENA, ON))).reservations == ()


def test_an_answer_of_several_tpdus_is_known_in_whatever_pieces_it_comes() -> None:
    """A client with TPDUs of 128 octets, and a Write whose results do not fit into one."""
    others = [(object_name("SMGW001GW", "LLN0$BR$brcbPos01$IntgPd"), number(1))] * 99
    results = tlv(0xA5, b"\x81\0" * 100)
    sent = b"".join(packets(message(tlv(RESPONSE, number(1, 0x02), results)), 128))
    assert len(packets(message(results), 128)) > 1
    for size in (len(sent), 128, 100, 7, 1):
        held = Reservations(now=lambda: 0.0)
        guard = Guard(held, "10.0.0.5")
        guard.heard(ACCEPT)
        assert judge(guard, confirmed(write((RESV_TMS, number(60)), *others))).forward
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        assert b"".join(map(guard.heard, pieces)) == sent
        assert guard.answered
        assert held.is_others(BLOCK, "10.0.0.6"), size
