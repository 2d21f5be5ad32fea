"""Counts what goes wrong, and logs it once per cause instead of once per reading.

A cause is logged when it is met for the first time and then at every tenfold count, so that a
sensor that has been silent for a year has cost eight lines.

>>> faults = Faults("meter 1", logger=logging.getLogger("doctest"))
>>> faults.tell("no answer", "port /dev/serial0")
>>> faults.counts
{'no answer': 1}
"""

from __future__ import annotations

import logging

from broker.contract.errors import reason


class Faults:
    """Counter per cause; ``subject`` names who has them in the log."""

    def __init__(self, subject: str, *, logger: logging.Logger) -> None:
        self._subject = subject
        self._logger = logger
        self.counts: dict[str, int] = {}

    def tell(self, cause: str, detail: object) -> None:
        """Count ``cause``; log it with ``detail`` at counts 1, 10, 100 and so on."""
        count = self.counts[cause] = self.counts.get(cause, 0) + 1
        text = reason(detail) if isinstance(detail, BaseException) else detail
        if _is_power_of_ten(count):
            self._logger.warning("%s: %s (counted %d): %s", self._subject, cause, count, text)


def _is_power_of_ten(count: int) -> bool:
    return str(count).rstrip("0") == "1"
