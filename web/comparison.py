"""Compares two SCL files in a separate process (`web.differing`), with limits: a file can be hostile.

>>> await compared(upload, current)  # doctest: +SKIP
[{'ied': 'SMGW001', 'device': 'SMGW001M7 "House 7"', 'what': 'added'}]
"""

from __future__ import annotations

import asyncio
import sys
from typing import IO, Any

import orjson

from web.differing import MEMORY, SECONDS
from web.serving.problem import ProblemError

LARGEST_ANSWER = 8 * 1024 * 1024
"""Octets of what differs."""


async def compared(before: IO[bytes], after: IO[bytes], *, condensed: bool = False) -> list[dict[str, str]]:
    """What differs; 422 for a file that is no SCL, 413 for one that needs too much memory or time.

    ``condensed``: one line for what is the same in several devices.
    """
    files = (before.fileno(), after.fileno())
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-P",
            "-m",
            "web.differing",
            *map(str, files),
            *(["condensed"] if condensed else []),
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=files,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            told = await _read(process.stdout)
            code = await process.wait()
    except TimeoutError:
        raise ProblemError(413, f"the file takes more than {SECONDS} s to compare") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        raise ProblemError(
            413, f"the file is too large to compare: it needs more than {MEMORY >> 20} MiB, or {SECONDS} s"
        )
    answer: dict[str, Any] = orjson.loads(told)
    if fault := answer.get("fault"):
        raise ProblemError(422, f"body: {fault}"[:500])
    return list(answer["differences"])


async def _read(stream: asyncio.StreamReader) -> bytes:
    """All of it; 413 if it is larger than the limit."""
    found = bytearray()
    while piece := await stream.read(1 << 16):
        found += piece
        if len(found) > LARGEST_ANSWER:
            raise ProblemError(413, f"the differences are more than {LARGEST_ANSWER >> 20} MiB of text")
    return bytes(found)
