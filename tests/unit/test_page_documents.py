"""The names that the page Supply reads (``web/static/documents.js``) are fields of the API's documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.store.outages import INDICES
from bridge.store.supply_week import FIELDS
from web.api.credit import Account, EntryRow
from web.api.losses_models import BalanceRow, Suspicion
from web.api.supply_models import OutageDocument

SCRIPT = (Path(__file__).parents[2] / "web/static/documents.js").read_text()
GIVEN = {
    "accounts": set(Account.model_fields),
    "ledger": set(EntryRow.model_fields),
    "balance": set(BalanceRow.model_fields),
    "suspicions": set(Suspicion.model_fields),
    "reliability": set(INDICES),
    "outages": set(OutageDocument.model_fields),
}


def read_in(code: str) -> set[str]:
    """Names of fields: of ``column("Label", "name")``, and ``one.name``."""
    return set(re.findall(r'column\("[^"]*", "(\w+)"', code)) | set(re.findall(r"\bone\.(\w+)", code))


@pytest.mark.parametrize("table", GIVEN)
def test_columns_are_fields(table: str) -> None:
    (code,) = re.findall(rf"^    {table}: \[(.*?)^    \],", SCRIPT, re.DOTALL | re.MULTILINE)
    assert read_in(code)
    assert read_in(code) <= GIVEN[table]


def test_facts_are_fields() -> None:
    code = SCRIPT.partition("export function accountFacts")[2].partition("\n}\n")[0]
    assert read_in(code) | set(re.findall(r'", "(\w+)"\]', code)) <= GIVEN["accounts"]
    code = SCRIPT.partition("const QUALITY = {")[2].partition("};")[0]
    names = set(re.findall(r"(\w+): \[", code))
    assert "sag_lowest" in names
    assert names <= set(FIELDS)
