"""The independent record: what each simulated device published, written down before it did.

``python -m tests.devices.teller FILE adapter simulate …`` is ``meter61850 adapter simulate …`` with the
function wrapped that publishes. Each message is a line of JSON in FILE (appended by one write(2)): its
number, the time in seconds, topic and payload. A line with only a number: the broker has acknowledged it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import time
from typing import Any

from adapters.simulated import program
from adapters.simulated.device import Message


class Teller:
    """Writes the book of one process."""

    def __init__(self, book: Path) -> None:
        self._file = os.open(book, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._numbers = count()

    def install(self) -> None:
        """Wrap what publishes."""
        publish = program._publish

        async def watched(client: Any, messages: Sequence[Message]) -> None:
            for message in messages:
                number = next(self._numbers)
                told = {"t": time(), "topic": message.topic, "payload": message.payload.decode()}
                self._line({"n": number} | told)
                await publish(client, [message])
                self._line({"n": number})

        program._publish = watched

    def _line(self, told: dict[str, object]) -> None:
        os.write(self._file, json.dumps(told).encode() + b"\n")


def main() -> None:
    """Be the CLI, watched."""
    Teller(Path(sys.argv.pop(1))).install()
    from admin.main import main as cli  # noqa: PLC0415 - after the wrapping

    cli()


if __name__ == "__main__":
    main()
