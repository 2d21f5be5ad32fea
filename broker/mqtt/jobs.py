"""Tasks that run together until the first one ends, for one connection to the broker.

>>> await together({"hear": hear(client), "status": tell_status(client)})  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from typing import Any

CANCEL_AGAIN_SECONDS = 0.05


async def together(jobs: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Run ``jobs`` until the first one ends; cancel the others, and raise the error of the one that failed.

    This is no TaskGroup: until Python 3.13 a group whose task fails while it is being left does not take its
    cancellation back, so that our own task looks cancelled for ever (python/cpython#116720).
    """
    tasks = [asyncio.create_task(job, name=name) for name, job in jobs.items()]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error


async def end(tasks: Collection[asyncio.Task[Any]], *, again: float = CANCEL_AGAIN_SECONDS) -> None:
    """Cancel until they have ended.

    Once is not enough: in Python 3.11, wait_for (aiomqtt waits for every PUBACK with it) swallows a
    cancellation that comes together with its result.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=again)
