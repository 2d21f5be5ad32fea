"""What could not be read: counted by cause, logged once for each, and some of the messages kept in a file.

>>> aside = Aside("home")
>>> aside.note("not JSON", "it is 'x'", topic="tele/plug/SENSOR", payload=b"x")
>>> aside.counts
{'not JSON': 1}
"""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from broker import durable
from broker.contract.messages import format_ts, utc_now
from meter_firmware.faults import Faults

_log = logging.getLogger(__name__)

FOLDER = "aside"
KEPT = 20
"""Messages of each cause: the last ones."""
CAUSES = 100
"""Further ones are counted together."""
OTHERS = "other causes"
LONGEST = 2048
"""Bytes of a message that are kept."""


@dataclass(frozen=True)
class Kept:
    """A message that was set aside."""

    at: datetime
    cause: str
    detail: str
    topic: str
    payload: bytes


class Aside:
    """The findings of one source."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._faults = Faults(f"source {source}", logger=_log)
        self._kept: dict[str, deque[Kept]] = {}
        self._is_new = False

    @property
    def counts(self) -> dict[str, int]:
        """Cause → how often."""
        return self._faults.counts

    def note(self, cause: str, detail: str, *, topic: str = "", payload: bytes = b"") -> None:
        """Count it, and keep the message."""
        cause = cause[:100]
        if cause not in self.counts and len(self.counts) >= CAUSES:
            cause = OTHERS
        self._faults.tell(cause, detail[:500])
        kept = Kept(utc_now(), cause, detail[:500], topic[:1000], payload[:LONGEST])
        self._kept.setdefault(cause, deque(maxlen=KEPT)).append(kept)
        self._is_new = True

    def save(self, data_dir: Path) -> None:
        """Write what is kept into ``aside/SOURCE.jsonl``, if there is news; OSError if that fails."""
        if not self._is_new:
            return
        self._is_new = False
        durable.make_folder(data_dir / FOLDER)
        lines = [_line(one, self.counts[cause]) for cause, some in self._kept.items() for one in some]
        path = data_dir / FOLDER / f"{self.source}.jsonl"
        durable.replace(path, "".join(lines).encode(), mode=durable.SECRET)


def _line(one: Kept, count: int) -> str:
    told = {
        "at": format_ts(one.at),
        "cause": one.cause,
        "count": count,
        "detail": one.detail,
        "topic": one.topic,
        "payload": one.payload.decode("utf-8", "backslashreplace"),
    }
    return json.dumps(told) + "\n"


def counted(data_dir: Path, source: str) -> dict[str, int]:
    """Cause → how often, as the running adapter has written it; empty without a file."""
    found: dict[str, int] = {}
    try:
        for line in (data_dir / FOLDER / f"{source}.jsonl").read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            found[str(told["cause"])] = int(told["count"])
    except (OSError, ValueError, KeyError, TypeError):
        return found
    return found
