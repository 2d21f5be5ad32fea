"""Names of IEDs: SMGW001, SMGW002, …; a meter gets its IED once, for life.

>>> next_ied({"SMGW001": 50, "SMGW002": 3}, limit=50)
'SMGW002'
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

PREFIX = "SMGW"
"""How the names of our IEDs begin."""


def next_ied(filled: Mapping[str, int], *, limit: int, among: Collection[str] | None = None) -> str:
    """The first IED with room for one more of ``limit`` meters, or a new one: SMGW001, SMGW002, …

    Of those that have meters only the ones in ``among`` count, if it is given.
    """
    number = 1
    while (ied := ied_name(number)) in filled and (
        filled[ied] >= limit or (among is not None and ied not in among)
    ):
        number += 1
    return ied


def ied_name(number: int) -> str:
    """Name of the IED with this number, from 1."""
    return f"{PREFIX}{number:03d}"


def ied_number(name: str) -> int:
    """The inverse of :func:`ied_name`."""
    return int(name.removeprefix(PREFIX))
