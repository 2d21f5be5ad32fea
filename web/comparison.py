"""Compares two SCL files in a process of its own, whose memory and time are limited: a file can be hostile.

``python -m web.comparison BEFORE AFTER`` reads two file descriptors and writes JSON:
``{"differences": […]}`` or ``{"fault": "…"}``; when the memory does not suffice it ends with TOO_LARGE.

>>> await compared(upload, current)  # doctest: +SKIP
[{'ied': 'SMGW001', 'device': 'SMGW001M7 "House 7"', 'what': 'added'}]
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from typing import IO, Any

import orjson
from lxml import etree

from scl_builder.diff import diff
from scl_builder.document import Document
from scl_builder.outline import parse
from web.problem import ProblemError

MEMORY = 512 * 1024 * 1024
"""Octets of address space: two SCDs of 5,000 meters take 160 MB, and the unit allows the service 1 GiB."""
SECONDS = 60
LARGEST_ANSWER = 8 * 1024 * 1024
TOO_LARGE = 3
"""Exit code."""


async def compared(before: IO[bytes], after: IO[bytes]) -> list[dict[str, str]]:
    """What differs; 422 for a file that is no SCL, 413 for one that needs too much memory or time."""
    files = (before.fileno(), after.fileno())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "web.comparison", *map(str, files)),
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
    """All of it; 413 when it is more than we tell."""
    found = bytearray()
    while piece := await stream.read(1 << 16):
        found += piece
        if len(found) > LARGEST_ANSWER:
            raise ProblemError(413, f"the differences are more than {LARGEST_ANSWER >> 20} MiB of text")
    return bytes(found)


def main() -> int:
    """The process; its exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        before, after = (_parsed(int(descriptor)) for descriptor in sys.argv[1:3])
        changes = diff(before, after)
        told: dict[str, Any] = {
            "differences": [{"ied": one.ied, "device": one.device, "what": one.what} for one in changes]
        }
        answer = orjson.dumps(told)
    except ValueError as error:
        if _is_memory(error.__cause__):
            return TOO_LARGE
        answer = orjson.dumps({"fault": str(error)})
    except MemoryError:
        return TOO_LARGE
    sys.stdout.buffer.write(answer)
    return 0


def _parsed(descriptor: int) -> Document:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return parse(file.read())


def _is_memory(cause: BaseException | None) -> bool:
    return isinstance(cause, etree.XMLSyntaxError) and cause.code == etree.ErrorTypes.ERR_NO_MEMORY


if __name__ == "__main__":
    sys.exit(main())
