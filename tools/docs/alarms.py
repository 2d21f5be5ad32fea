"""docs/alarms.md, written from the table of kinds.

>>> alarms_markdown().splitlines()[0]
'# Alarms'
"""

from __future__ import annotations

from broker.contract.alarms import KINDS, AlarmKind

_HEAD = """\
# Alarms

`make docs` generates this file from `broker/contract/alarms.py`: change it there.
Where alarms are shown, how they are acknowledged and who gets a message is in
[operations.md](operations.md#alarms).

| alarm | of | severity | meaning | raised when | cleared when | what to do |
|---|---|---|---|---|---|---|
"""


def alarms_markdown() -> str:
    """The whole document."""
    return _HEAD + "".join(_row(name, kind) for name, kind in KINDS.items())


def _row(name: str, kind: AlarmKind) -> str:
    texts = (kind.meaning, kind.raised, kind.cleared, kind.cure)
    return f"| `{name}` | {kind.of.value} | {kind.severity.value} | " + " | ".join(texts) + " |\n"
