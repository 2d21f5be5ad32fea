"""What was rendered of each IED last: a rebuild renders those that have changed, and keeps one text of each.

>>> from scl_builder.build.project import Ied
>>> render = Remembered(lambda ied, mark: f"{ied.name}{mark}")
>>> ied = Ied("A", "192.0.2.1", 102, ())
>>> render(ied, "!"), render(ied, "!"), render.rendered
('A!', 'A!', 1)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, Generic, ParamSpec, TypeVar

from scl_builder.build.project import Ied

P = ParamSpec("P")
T = TypeVar("T")


class Remembered(Generic[P, T]):
    """A function of an IED and of settings; the latest result is kept for each name of an IED."""

    def __init__(self, render: Callable[Concatenate[Ied, P], T]) -> None:
        self.rendered = 0
        """How often it had to be rendered."""
        self._render = render
        self._known: dict[str, tuple[object, T]] = {}

    def __call__(self, ied: Ied, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result, of now or of before: an IED that is the same object is found without comparing."""
        key = (ied, args, kwargs)
        known = self._known.get(ied.name)
        if known is None or known[0] != key:
            self.rendered += 1
            known = self._known[ied.name] = (key, self._render(ied, *args, **kwargs))
        return known[1]

    def forget(self) -> None:
        """As in a new process."""
        self._known.clear()
