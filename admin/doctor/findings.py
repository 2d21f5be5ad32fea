"""What ``meter61850 doctor`` finds.

>>> Finding(Verdict.OK, "bridge", "0.17.0 is running").verdict.value
'ok'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it stands; only ``fail`` makes the command fail."""

    OK = "ok"
    NOTE = "note"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    what: str
    detail: str
    cure: str = ""
