"""Threads that draw from one supply until it is empty, someone says stop, or the block ends.

>>> class Counting(Drawers):
...     def work(self) -> None:
...         '''Draws nothing.'''
>>> with Counting(2) as drawers:
...     drawers.wait()
>>> drawers.over
True
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self


class Drawers(ABC):
    """So many threads, each of which does ``work``; ``with`` starts them and ends with them."""

    def __init__(self, threads: int) -> None:
        self.lock = threading.Lock()
        """Of what the threads share."""
        self.stop = threading.Event()
        """No more is to be drawn."""
        self._threads = [threading.Thread(target=self.work) for _ in range(threads)]

    @abstractmethod
    def work(self) -> None:
        """Draw, until there is nothing more or ``stop`` is set."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.wait()

    @property
    def over(self) -> bool:
        """Whether all of them have ended."""
        return not any(thread.is_alive() for thread in self._threads)

    def wait(self) -> None:
        """Until all of them have ended."""
        for thread in self._threads:
            thread.join()
