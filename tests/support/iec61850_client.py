"""libiec61850's own client in a process of its own (``iec61850_driver.py``), asked in Python.

>>> with iec61850(port) as client:  # doctest: +SKIP
...     client.ask("read", reference="SMGW001M17/MMXN1.Vol", fc="MX")
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.scada import CommandRefusedError, Told

ROOT = Path(__file__).parents[2]


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
        [sys.executable, "-m", "tests.support.iec61850_driver"],
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
        process.wait(60)


@dataclass
class LibIec61850:
    """The client of the library that also serves, in a process of its own."""

    client: Iec61850Client
    ask: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        self.ask = self.client.ask

    def identify(self) -> list[str]:
        return list(self.ask("identify"))

    def directory(self) -> dict[str, list[str]]:
        return {device: self.ask("variables", device=device) for device in self.ask("devices")}

    def read(self, reference: str, fc: str) -> Any:
        return self.ask("read", reference=reference, fc=fc)

    def members(self, data_set: str) -> list[str]:
        return list(self.ask("members", reference=data_set))

    def values(self, data_set: str) -> list[Any]:
        return list(self.ask("values", reference=data_set))

    def create(self, data_set: str, members: list[str]) -> None:
        self.ask("create", reference=data_set, members=members)

    def delete(self, data_set: str) -> None:
        if not self.ask("delete", reference=data_set):
            raise RefusedError(f"{data_set} was not deleted")

    def enable(self, block: str, *, entry_id: str | None = None, interrogate: bool = False) -> None:
        self.ask("enable", block=block, entry_id=entry_id, interrogate=interrogate)

    def reports(self) -> list[Told]:
        return [
            Told({int(k): v for k, v in r["entries"].items()}, r["entry_id"], r["overflow"], r["seq"])
            for r in self.ask("reports")
        ]

    def _commanded(self, action: str, **parameters: object) -> None:
        outcome = self.ask(action, **parameters)
        if not outcome["done"] or outcome.get("terminated") is False or outcome["add_cause"]:
            raise CommandRefusedError(f"{action}: {outcome}")

    def select(self, reference: str, *, close: bool) -> None:
        self._commanded("select", reference=reference, close=close)

    def operate(self, reference: str, *, close: bool, select: bool = True) -> None:
        if select and self.ask("control_model", reference=reference) in (2, 4):
            self.select(reference, close=close)
        self._commanded("operate", reference=reference, close=close)

    def cancel(self, reference: str, *, close: bool) -> None:
        del close  # the library repeats what was selected
        self._commanded("cancel", reference=reference)


@contextmanager
def libiec61850(port: int, tls: dict[str, str] | None = None) -> Iterator[LibIec61850]:
    """An association of libiec61850's client, over TLS with the files cert, key and ca."""
    with iec61850() as client:
        client.ask("connect", port=port, tls=tls)
        try:
            yield LibIec61850(client)
        finally:
            client.ask("close")
