"""A command of the CLI that is killed (SIGKILL) at its n-th step, in a process of its own.

A step is whatever another process or the disk can see: a file put in its place or removed, a transaction of
the identity store, a message to the broker, a row of the audit. The process dies after it.

>>> killed_at(3, "meters", "block", meter_id, "--reason", "stolen")  # doctest: +SKIP
True
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt

from admin.main import main
from bridge.store import audit
from registrar import blocking
from registrar.identity_store import IdentityStore
from registrar.transaction import Change


def killed_at(step: int, *arguments: str, quiet: float = 0.3) -> bool:
    """Run ``meter61850 ARGUMENTS`` and kill it after ``step`` steps; False if it came to its end before.

    AssertionError if it ended with another code than 0.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            blocking.QUIET_SECONDS = quiet
            os.fsync = lambda _: None  # type: ignore[assignment]  # a process dies here, not the machine
            _kill_after(step)
            main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, arguments
    return False


def run(*arguments: str) -> None:
    """Run it to its end."""
    assert not killed_at(1_000_000, *arguments)


def _kill_after(step: int) -> None:
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(done: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            result = done(*arguments, **named)
            count()
            return result

        return call

    for place, name in ((os, "replace"), (os, "rename"), (os, "mkdir"), (audit, "record"), (Path, "unlink")):
        setattr(place, name, counted(getattr(place, name)))
    _count_transactions(count)
    _count_messages(count)


def _count_transactions(count: Callable[[], None]) -> None:
    change = IdentityStore.change

    class Counted:
        def __init__(self, store: IdentityStore) -> None:
            self._change = change(store)

        def __enter__(self) -> Change:
            return self._change.__enter__()

        def __exit__(self, *raised: Any) -> Any:
            result = self._change.__exit__(*raised)
            count()
            return result

    IdentityStore.change = lambda self: Counted(self)  # type: ignore[method-assign,assignment,return-value]  # noqa: PLW0108


def _count_messages(count: Callable[[], None]) -> None:
    publish = aiomqtt.Client.publish

    async def counted(self: aiomqtt.Client, *arguments: Any, **named: Any) -> None:
        await publish(self, *arguments, **named)
        count()

    aiomqtt.Client.publish = counted  # type: ignore[method-assign,assignment]
