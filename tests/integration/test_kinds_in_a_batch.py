"""A batch of readings with different quantities: each of them is stored, whatever the others have."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from bridge.ingest.bulk_insert import by_quantities, insert_readings
from bridge.ingest.rows import Row
from tests.support.databases import migrated

pytest_plugins = ("tests.support.databases",)

ALL = ("voltage", "current", "power")


def row(seq: int, names: tuple[str, ...]) -> Row:
    """A reading with these quantities."""
    return (1, 1, seq, 1000 * seq, *(float(seq) for _ in names), None, None, True, names)


def test_what_few_have_together_is_not_taken_for_what_many_have(database_url: str) -> None:
    """Forty have all; of two more each lacks another quantity, so that together they have all."""
    batch = [row(seq, ALL) for seq in range(1, 41)] + [row(41, ALL[:2]), row(42, ALL[1:])]
    engine = migrated(database_url)
    try:
        with engine.begin() as connection:
            assert insert_readings(connection, batch).new == len(batch)
            found = connection.execute(text("SELECT seq, voltage, power FROM reading ORDER BY seq")).all()
    finally:
        engine.dispose()
    full = [(seq, float(seq), float(seq)) for seq in range(1, 41)]
    assert [tuple(one) for one in found] == [*full, (41, 41.0, None), (42, None, 42.0)]


KINDS = st.lists(st.sampled_from(ALL), unique=True).map(lambda some: tuple(n for n in ALL if n in some))


@given(st.lists(st.tuples(KINDS, st.integers(1, 40)), max_size=8))
def test_no_reading_is_left_out_of_the_statements(groups: list[tuple[tuple[str, ...], int]]) -> None:
    kinds = chain.from_iterable([names] * count for names, count in groups)
    batch = [row(seq, names) for seq, names in enumerate(kinds, 1)]
    by_kind = by_quantities(batch)
    assert all(one[-1] == names for names, some in by_kind.items() for one in some)
    assert Counter(one[2] for some in by_kind.values() for one in some) == Counter(one[2] for one in batch)
