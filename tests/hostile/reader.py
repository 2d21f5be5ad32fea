"""The client that behaves, a process of its own: one association, one read after the other until stdin ends.

A read's time is counted without that in which this process, or the server, was ready to run and had no
processor (``/proc/PID/schedstat``). So a machine with other work makes no read slow, and a server that
sleeps, waits or computes does. It is a process of its own because the threads of the attackers share an
interpreter.

    python -m tests.hostile.reader PORT DOMAIN PID     -> {"reads": 7, "slowest": 0.01, "failures": []}
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.mms_pdus import RESPONSE, object_name, raw_client, read

ROOT = Path(__file__).parents[2]
ASSOCIATED = "associated"


@dataclass
class Reader:
    """What it has read."""

    reads: int = 0
    slowest: float = 0.0
    """Seconds, without the wait for a processor."""
    failures: list[str] = field(default_factory=list)


def waited(pid: int | str) -> float:
    """Seconds in which a process's first thread was ready without a processor; 0 if that is not known."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def read_on(seen: Reader, port: int, domain: str, server: int, stop: threading.Event) -> None:
    """Read until ``stop``; tells on stdout when it is associated."""
    value = read(object_name(domain, "MMXN1$MX$Vol"))
    try:
        with raw_client(port) as client:
            print(ASSOCIATED, flush=True)  # noqa: T201
            while not stop.is_set():
                started, ready = time.monotonic(), waited(server) + waited("self")
                assert client.ask(value)[0] == RESPONSE
                ready = waited(server) + waited("self") - ready
                seen.slowest = max(seen.slowest, time.monotonic() - started - ready)
                seen.reads += 1
    except (OSError, EOFError, AssertionError) as error:
        seen.failures.append(repr(error))


@contextmanager
def reading(port: int, domain: str, server: int) -> Iterator[Reader]:
    """A client of the server with this process id, which reads until the block ends; then it is complete."""
    seen = Reader()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.reader", str(port), domain, str(server)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        associated = process.stdout.readline().strip()
        yield seen
    finally:
        process.stdin.close()
        told = associated if associated != ASSOCIATED else process.stdout.readline()
        process.wait(60)
        vars(seen).update(json.loads(told or '{"failures": ["the client ended"]}'))


def main() -> None:
    """The process."""
    seen, stop = Reader(), threading.Event()

    def until_the_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=until_the_end, daemon=True).start()
    read_on(seen, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), stop)
    print(json.dumps(asdict(seen)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
