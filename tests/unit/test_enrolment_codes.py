"""A code that was read aloud: what was mistyped is told before anything is sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.enrolment_codes import ALPHABET, LENGTH, MAX_COUNT, EnrolmentCode
from broker.contract.errors import ConfigurationError

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
counts = st.integers(1, MAX_COUNT)


def plain(code: EnrolmentCode) -> str:
    """Without hyphens."""
    return str(code).replace("-", "")


@given(counts)
def test_what_is_printed_is_read(count: int) -> None:
    code = EnrolmentCode.new(count=count)
    assert EnrolmentCode.parse(str(code)) == code
    assert EnrolmentCode.parse(f" {str(code).lower().replace('-', ' ')} ") == code
    assert set(plain(code)) <= set(ALPHABET)
    assert not set(plain(code)) & set("01OI")


@given(counts, st.integers(0, LENGTH - 1), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found(count: int, place: int, sign: str) -> None:
    code = plain(EnrolmentCode.new(count=count))
    wrong = code[:place] + sign + code[place + 1 :]
    if wrong != code:
        with pytest.raises(ConfigurationError, match="mistyped"):
            EnrolmentCode.parse(wrong)


@given(counts, st.integers(0, LENGTH - 1), st.integers(0, LENGTH - 1))
def test_two_characters_that_changed_places_are_found(count: int, one: int, other: int) -> None:
    signs = list(plain(EnrolmentCode.new(count=count)))
    swapped = signs.copy()
    swapped[one], swapped[other] = signs[other], signs[one]
    if swapped != signs:
        with pytest.raises(ConfigurationError, match="mistyped"):
            EnrolmentCode.parse("".join(swapped))


@given(st.text(max_size=40))
def test_any_text_is_a_code_or_an_error_of_ours(text: str) -> None:
    try:
        code = EnrolmentCode.parse(text)
    except ConfigurationError:
        return
    assert EnrolmentCode.parse(str(code)) == code


def test_what_is_wrong_is_named() -> None:
    code = plain(EnrolmentCode.new(count=1))
    with pytest.raises(ConfigurationError, match="23 characters instead of 24"):
        EnrolmentCode.parse(code[:-1])
    with pytest.raises(ConfigurationError, match="'O' is in no code"):
        EnrolmentCode.parse("O" + code[1:])
    for count in (0, MAX_COUNT + 1):
        with pytest.raises(ConfigurationError, match=f"count {count}"):
            EnrolmentCode.new(count=count)


@given(counts)
def test_a_meter_tries_every_slot_once_from_a_place_of_its_own(count: int) -> None:
    code = EnrolmentCode.new(count=count)
    tried = list(code.slots_for(METER))
    assert sorted(tried) == sorted(code.slots())
    assert tried == list(code.slots_for(METER))


def test_the_secret_is_85_random_bits_and_not_shown() -> None:
    code = EnrolmentCode.new(count=20)
    assert len(code.secret) * 5 == 85
    assert code.secret not in repr(code)
    assert len({EnrolmentCode.new(count=1).secret for _ in range(100)}) == 100
