"""What a run prints: the faults by kind, and the ledger by meter."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from rich.table import Table

from tests.faults.ledger import Ledger
from tests.faults.plan import Fault


def kinds_table(faults: Iterable[Fault]) -> Table:
    """How many faults of each kind struck whom, and for how long altogether."""
    struck: defaultdict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        struck[fault.kind].append(fault)
    table = _table("fault", "count", "seconds")
    table.add_column("targets")
    for kind, some in sorted(struck.items()):
        whom = Counter(fault.target for fault in some)
        names = ", ".join(f"{target} {count}" for target, count in sorted(whom.items()))
        table.add_row(kind, str(len(some)), f"{sum(fault.seconds for fault in some):.0f}", names)
    everything = [fault for some in struck.values() for fault in some]
    table.add_section()
    table.add_row("all", str(len(everything)), f"{sum(fault.seconds for fault in everything):.0f}", "")
    return table


def ledger_table(ledger: Ledger) -> Table:
    """Taken, stored, kept aside, lost with a memory card: by meter, and altogether."""
    table = _table("meter", "taken", "stored", "kept aside", "lost")
    for meter_id, figures in ledger.meters.items():
        table.add_row(meter_id, *(str(figure) for figure in figures))
    table.add_section()
    table.add_row("all", str(ledger.taken), str(ledger.stored), str(ledger.aside), str(ledger.lost))
    return table


def _table(name: str, *figures: str) -> Table:
    table = Table()
    table.add_column(name)
    for figure in figures:
        table.add_column(figure, justify="right")
    return table
