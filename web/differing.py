"""The process that compares two SCL files; it limits its own memory and time before it reads them.

``python -m web.differing BEFORE AFTER [condensed]`` reads two file descriptors and writes JSON:
``{"differences": […]}`` or ``{"fault": "…"}``; if the memory is not sufficient it ends with TOO_LARGE.
It starts in 0.2 s, because it imports nothing of the web.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

import orjson
from lxml import etree

from scl_builder.check.diff import condensed, diff
from scl_builder.check.document import Document
from scl_builder.check.outline import parse

MEMORY = 512 * 1024 * 1024
"""Octets of address space: two SCDs of 5,000 meters take 160 MB, and the unit allows the service 1 GiB."""
SECONDS = 60
TOO_LARGE = 3
"""Exit code."""


def main() -> int:
    """The process; its exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        before, after = (_parsed(int(descriptor)) for descriptor in sys.argv[1:3])
        changes = diff(before, after)
        if "condensed" in sys.argv[3:]:
            changes = condensed(changes)
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
