"""Templates of foreign devices: a small part of Jinja, without loops, calls and powers, evaluated here.

Jinja's parser reads a template; nothing of it is compiled or run. Only the nodes of the tables below are
evaluated: names, attributes and items of the message's JSON, constants, comparisons, arithmetic with
numbers, a condition, and some filters. None of them repeats anything, so a template takes no longer than its
length.
A plain path (``{{ value_json.power }}``), which most energy devices have, is read without Jinja.

A template invents no value. Where a filter would give a default instead of what was not said (``float(0)``,
``default(0)``), and where a condition gives a constant to a sensor, there is no value.

>>> Template("{{ value_json.energy.total | float * 2 }}").number(b'{"energy": {"total": 12.5}}')
25.0
>>> Template("{{ 'ON' if value_json.on else 'OFF' }}").words(b'{"on": true}')
'ON'
>>> Template("{{ range(10**9) }}")  # doctest: +IGNORE_EXCEPTION_DETAIL
Traceback (most recent call last):
UnsafeTemplateError: Call in '{{ range(10**9) }}' is not evaluated
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateError
from pydantic_core import from_json

from adapters.families.homeassistant.evaluation import (
    MAX_RESULT,
    NOTHING,
    Evaluation,
    NoValueError,
    as_words,
    item,
    joined,
    names_in,
    not_allowed,
    said,
)
from broker.contract.messages import whole

MAX_TEMPLATE = 1024
"""Characters of a template."""

Scalar = str | float | int | bool | None


class UnsafeTemplateError(ValueError):
    """A template that is not evaluated."""


_KEY = r"""\.[A-Za-z_]\w*|\[\s*(?:'[^'\\]*'|"[^"\\]*"|\d{1,6})\s*\]"""
_PATH = re.compile(
    rf"\s*\{{\{{-?\s*value_json((?:{_KEY})*)\s*(?:\|\s*(?:float|is_defined)\s*)?-?\}}\}}\s*", re.ASCII
)
_STEP = re.compile(_KEY, re.ASCII)
_JINJA = Environment(autoescape=False)


class Template:
    """A template that may be evaluated; UnsafeTemplateError names what may not."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._json = "value_json" in source
        path = _PATH.fullmatch(source)
        self._path = None if path is None else [_step(part) for part in _STEP.findall(path[1])]
        self._body: list[nodes.Expr] = [] if path else _checked(source)

    def number(self, payload: bytes) -> Scalar:
        """A sensor's value, or its text; NoValueError without one."""
        found = self._given(payload, words=False)
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise NoValueError(f"{self._source!r} gives {type(found).__name__}")
        return found.strip()[:MAX_RESULT] if isinstance(found, str) else found

    def words(self, payload: bytes) -> str:
        """A state in words, such as ``ON``; NoValueError without one."""
        return as_words(self._given(payload, words=True))

    def command(self, value: str) -> str:
        """What to send for ``value``; NoValueError without one."""
        return as_words(self._evaluated({"value": value}, words=True))

    def _given(self, payload: bytes, *, words: bool) -> Any:
        names: dict[str, Any] = {"value": payload.decode("utf-8", "replace")}
        if self._json:
            try:
                names["value_json"] = from_json(whole(payload), allow_inf_nan=False)
            except (ValueError, RecursionError):
                raise NoValueError("the message is no JSON") from None
        return self._evaluated(names, words=words)

    def _evaluated(self, names: Mapping[str, Any], *, words: bool) -> Any:
        if self._path is not None:
            found = names.get("value_json", NOTHING)
            for key in self._path:
                found = item(found, key)
            return said(found)
        evaluation = Evaluation(names, words=words)
        try:
            found = [evaluation.of(node) for node in self._body]
            return said(found[0]) if len(found) == 1 else joined(found)
        except (ArithmeticError, RecursionError, TypeError) as error:
            raise NoValueError(f"{self._source!r}: {type(error).__name__}") from None


def _step(part: str) -> str | int:
    inner = part[1:-1].strip() if part[0] == "[" else part[1:]
    return int(inner) if inner.isdigit() and part[0] == "[" else inner.strip("'\"")


def _checked(source: str) -> list[nodes.Expr]:
    """The expressions of a template that have only what is evaluated here."""
    if len(source) > MAX_TEMPLATE:
        raise UnsafeTemplateError(f"a template of {len(source)} characters, at most {MAX_TEMPLATE}")
    try:
        tree = _JINJA.parse(source)
        found = [node for output in tree.body for node in _output(output, source)]
        _look(found, source)
    except (TemplateError, RecursionError, ValueError) as error:
        if isinstance(error, UnsafeTemplateError):
            raise
        what = f"template {source[:80]!r} cannot be read: {type(error).__name__}"
        raise UnsafeTemplateError(what) from None
    kept = [node for node in found if not (isinstance(node, nodes.TemplateData) and not node.data.strip())]
    if not any(True for node in kept for _ in names_in(node)):
        raise UnsafeTemplateError(f"template {source[:80]!r} reads nothing of the message")
    return kept if len(kept) == 1 else found


def _output(node: nodes.Node, source: str) -> list[nodes.Expr]:
    if not isinstance(node, nodes.Output):
        raise UnsafeTemplateError(f"{type(node).__name__} in {source[:80]!r} is not evaluated")
    return list(node.nodes)


def _look(found: list[nodes.Expr], source: str) -> None:
    """UnsafeTemplateError for a node, name, filter or test that is not in the tables."""
    waiting: list[nodes.Node] = list(found)
    while waiting:
        node = waiting.pop()
        word = not_allowed(node)
        if word:
            raise UnsafeTemplateError(f"{word} in {source[:80]!r} is not evaluated")
        waiting.extend(node.iter_child_nodes())
