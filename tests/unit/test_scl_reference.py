"""References: both notations, round trips, and what is neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scl_builder.model.reference import Reference

NAMES = st.from_regex(r"[A-Za-z][0-9A-Za-z_]{0,11}", fullmatch=True)
CONSTRAINTS = st.sampled_from(["ST", "MX", "CO", "CF", "DC", "SP", "SV", "EX", "OR", "BL", "SE", "SG"])
REFERENCES = st.builds(
    Reference, NAMES, NAMES, st.lists(NAMES, min_size=1, max_size=5).map(tuple), CONSTRAINTS
)


@pytest.mark.parametrize(
    ("text", "mms"),
    [
        ("SM_1/MMXN1.Vol.mag.f [MX]", ("SM_1", "MMXN1$MX$Vol$mag$f")),
        ("SM_1/CSWI1.Pos.Oper.ctlVal [CO]", ("SM_1", "CSWI1$CO$Pos$Oper$ctlVal")),
        ("SMGW001GW/LLN0.Beh [ST]", ("SMGW001GW", "LLN0$ST$Beh")),
        ("SM_1/LLN0.brcbStat01 [BR]", ("SM_1", "LLN0$BR$brcbStat01")),
        ("SM_1/LLN0", ("SM_1", "LLN0")),
        ("SM_1/LLN0 [ST]", ("SM_1", "LLN0$ST")),
    ],
)
def test_both_notations(text: str, mms: tuple[str, str]) -> None:
    reference = Reference.parse(text)
    assert str(reference) == text
    assert reference.mms == mms
    assert Reference.from_mms(*mms) == reference
    assert Reference.parse("/".join(mms)) == reference


@given(REFERENCES)
def test_round_trip(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference
    assert Reference.from_mms(*reference.mms) == reference


@pytest.mark.parametrize(
    "text",
    ["", "/", "SM_1", "SM_1/", "SM_1/MMXN1.", "SM_1/MMXN1..Vol", "SM_1/MMXN1.Vol [ZZ]", "SM_1/MMXN1$ZZ$Vol",
     "SM-1/LLN0", "SM_1/MMXN1$MX$", "SM_1/MMXN1.Vol\n", "SM_1/MMXN1$MX$Vol [MX]", "a/b/c"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no reference"):
        Reference.parse(text)


def test_mms_needs_a_functional_constraint() -> None:
    with pytest.raises(ValueError, match="functional constraint is missing"):
        _ = Reference("SM_1", "MMXN1", ("Vol",)).mms


def test_child() -> None:
    assert Reference("L", "N1", ("A",), "ST").child("b", "c") == Reference("L", "N1", ("A", "b", "c"), "ST")
