"""libiec61850's own client in a process of its own (``iec61850_driver.py``), asked in Python.

>>> with iec61850(port) as client:  # doctest: +SKIP
...     client.ask("read", reference="SM_…/MMXN1.Vol", fc="MX")
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class RefusedError(Exception):
    """The client's action failed; the message is the library's error number."""


@dataclass
class Iec61850Client:
    """A process; each question waits for its answer."""

    _process: subprocess.Popen[str]

    def ask(self, action: str, **parameters: object) -> Any:
        """Do one action of the driver; RefusedError if it was refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": action, **parameters}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the driver ended with {self._process.wait()}"
        answer = json.loads(line)
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer["ok"]


@contextmanager
def iec61850() -> Iterator[Iec61850Client]:
    """A client that is not connected yet."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.iec61850_driver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield Iec61850Client(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
