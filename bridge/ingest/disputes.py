"""What follows when readings have the names of others that are stored (`bridge.ingest.namesakes`).

They are not confirmed, so their meter keeps them; each is kept aside, the meter hears which ones they are and
gives them new names, and an alarm tells that a memory card was restored or copied.

>>> ranges([(1, 7), (1, 8), (1, 3), (2, 9)])
[(1, 3, 3), (1, 7, 8), (2, 9, 9)]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import orjson

from bridge.ingest.rows import Row, reading_of
from bridge.ingest.work import Work
from bridge.mqtt.notice import Dead, Sent
from bridge.store.alarms import Raised
from bridge.store.tables import moment
from broker.contract.messages import format_ts, utc_now
from broker.contract.notice import MeterNotice, NoticeCode

MOST = 1000
"""Readings in a notice."""
CAUSE = "reading: another reading is stored with this epoch and seq"


@dataclass
class Disputes:
    """All of one commit."""

    dead: list[Dead] = field(default_factory=list)
    notices: list[tuple[str, MeterNotice]] = field(default_factory=list)
    alarms: list[tuple[int, Raised]] = field(default_factory=list)
    sent: set[Sent] = field(default_factory=set)
    """Not to be confirmed."""


def disputes(work: Work, sent: Iterable[tuple[Row, str]], meter_ids: Mapping[int, str]) -> Disputes:
    """What to do about rows of ``work``, with their senders, whose names other readings have."""
    found = Disputes()
    for (key, sender), group in groupby(sorted(sent, key=_order), key=lambda one: (one[0][0], one[1])):
        meter_id, own = meter_ids[key], [row for row, _ in group]
        topic = work.stored_topic(meter_id)
        reading = topic.rpartition(b"/")[0] + b"/reading"
        found.dead += (Dead(reading, _payload(row), CAUSE) for row in own)
        found.sent |= {(topic, row[1], row[2], sender) for row in own}
        for epoch, first, last in ranges({(row[1], row[2]) for row in own}):
            detail = f"epoch {epoch}, seq {first} to {last}: other readings are stored with these numbers"
            notice = MeterNotice(
                code=NoticeCode.EPOCH_CONFLICT,
                reason=detail,
                epoch=epoch,
                first=first,
                seq=last,
                instance=sender,
                ts=utc_now(),
            )
            found.notices.append((meter_id, notice))
            found.alarms.append((key, Raised(meter_id, "epoch-conflict", detail, last - first + 1)))
    return found


def _order(sent: tuple[Row, str]) -> tuple[int, str, int, int]:
    (meter, epoch, seq, *_), sender = sent
    return meter, sender, epoch, seq


def ranges(names: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(epoch, first, last) of neighbours among (epoch, seq), at most `MOST` together."""
    found: list[tuple[int, int, int]] = []
    for epoch, seq in sorted(names):
        if found and found[-1][0] == epoch and found[-1][2] + 1 == seq < found[-1][1] + MOST:
            found[-1] = (epoch, found[-1][1], seq)
        else:
            found.append((epoch, seq, seq))
    return found


def _payload(row: Row) -> bytes:
    """The reading as the contract writes it, for a human: its octets as they came are gone."""
    fields = reading_of(row)._asdict()
    other = orjson.loads(fields.pop("other") or "{}")
    told = fields | {"ts": format_ts(moment(fields["ts"]))} | other
    return orjson.dumps({name: value for name, value in told.items() if value is not None})
