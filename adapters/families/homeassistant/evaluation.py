"""What a node of a template means: the tables of nodes, filters, tests and comparisons, and their evaluation.

Nothing here repeats, so an evaluation ends after as many steps as the template has nodes. Arithmetic takes
numbers only, because a text times a number would repeat the text.

>>> as_words(True), as_words(" on ")
('True', 'on')
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes

MAX_RESULT = 1024
"""Characters of a text that a template gives."""


class NoValueError(ValueError):
    """A template gives no value for this message."""


class _Undefined:
    """What a message does not have."""


NOTHING = _Undefined()


def as_words(found: Any) -> str:
    """Text as Jinja writes it; NoValueError for what is no text."""
    if found is None or found is NOTHING or isinstance(found, dict | list):
        raise NoValueError(f"{type(found).__name__} is no state")
    text = str(found).strip()
    if len(text) > MAX_RESULT:
        raise NoValueError(f"a text of {len(text)} characters, at most {MAX_RESULT}")
    return text


def item(found: Any, key: Any) -> Any:
    """The item of a JSON value; undefined where there is none, NoValueError below what is undefined."""
    if isinstance(found, dict) and isinstance(key, str):
        return found.get(key, NOTHING)
    if isinstance(found, list) and type(key) is int:
        return found[key] if -len(found) <= key < len(found) else NOTHING
    if found is NOTHING:
        raise NoValueError("the message has no such value")
    return NOTHING


def said(found: Any) -> Any:
    if found is NOTHING or found is None:
        raise NoValueError("the message has no such value")
    return found


def joined(found: list[Any]) -> str:
    return "".join(as_words(part) if not isinstance(part, str) else part for part in found)


def names_in(node: nodes.Node) -> list[nodes.Name]:
    return [node] if isinstance(node, nodes.Name) else list(node.find_all(nodes.Name))


class Evaluation:
    """One evaluation; ``words``: constants of the template may be its result."""

    def __init__(self, names: Mapping[str, Any], *, words: bool) -> None:
        self._names, self._words = names, words

    def of(self, node: nodes.Node) -> Any:
        return _NODE[type(node)](self, node)

    def name(self, node: Any) -> Any:
        return self._names.get(node.name, NOTHING)

    def constant(self, node: Any) -> Any:
        return node.value if isinstance(node, nodes.Const) else node.data

    def attribute(self, node: Any) -> Any:
        key = node.attr if isinstance(node, nodes.Getattr) else self.of(node.arg)
        return item(self.of(node.node), key)

    def condition(self, node: Any) -> Any:
        chosen = node.expr1 if _true(self.of(node.test)) else node.expr2
        if chosen is None or (not self._words and not names_in(chosen)):
            raise NoValueError("the condition gives a constant")
        return self.of(chosen)

    def either(self, node: Any) -> Any:
        left = self.of(node.left)
        first = isinstance(node, nodes.And) is not _true(left)
        if not first and not self._words and not names_in(node.right):
            raise NoValueError("the condition gives a constant")
        return left if first else self.of(node.right)

    def negated(self, node: Any) -> bool:
        return not _true(self.of(node.node))

    def arithmetic(self, node: Any) -> float:
        return _ARITHMETIC[type(node)](_number(self.of(node.left)), _number(self.of(node.right)))

    def sign(self, node: Any) -> float:
        value = _number(self.of(node.node))
        return -value if isinstance(node, nodes.Neg) else value

    def concatenation(self, node: Any) -> str:
        return as_words(joined([self.of(part) for part in node.nodes]))

    def comparison(self, node: Any) -> bool:
        left = self.of(node.expr)
        for operand in node.ops:
            right = self.of(operand.expr)
            if not _COMPARED[operand.op](left, right):
                return False
            left = right
        return True

    def filtered(self, node: Any) -> Any:
        return _FILTERS[node.name](self.of(node.node), [self.of(part) for part in node.args])

    def tested(self, node: Any) -> bool:
        return _TESTS[node.name](self.of(node.node))


def _true(found: Any) -> bool:
    return found is not NOTHING and bool(found)


def _number(found: Any) -> float:
    """For arithmetic: with texts it would repeat them."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise NoValueError(f"{type(found).__name__} is no number")
    return found if isinstance(found, int) and abs(found) < 2**53 else float(found)


def _float(found: Any, _default: list[Any]) -> float:
    try:
        value = float(found) if isinstance(found, str | int | float) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise NoValueError("what is no number has no value")
    return value


def _round(found: Any, arguments: list[Any]) -> float:
    places = arguments[0] if arguments else 0
    if type(places) is not int or not 0 <= places <= 15 or len(arguments) > 1:
        raise NoValueError("round takes 0 to 15 places")
    return round(_float(found, []), places)


def _defined(found: Any, _default: list[Any]) -> Any:
    return said(found)


# fmt: off
_FILTERS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "float": _float, "int": lambda found, default: int(_float(found, default)), "round": _round,
    "default": _defined, "is_defined": _defined, "abs": lambda found, _: abs(_number(found)),
    "lower": lambda found, _: as_words(found).lower(), "upper": lambda found, _: as_words(found).upper(),
    "trim": lambda found, _: as_words(found), "string": lambda found, _: as_words(found),
}
_TESTS: dict[str, Callable[[Any], bool]] = {
    "defined": lambda found: found is not NOTHING, "undefined": lambda found: found is NOTHING,
    "none": lambda found: found is None,
    "number": lambda found: isinstance(found, int | float) and not isinstance(found, bool),
    "string": lambda found: isinstance(found, str),
}
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "lteq": operator.le, "gt": operator.gt,
    "gteq": operator.ge,
}
_ARITHMETIC: dict[type[nodes.Node], Callable[[float, float], float]] = {
    nodes.Add: operator.add, nodes.Sub: operator.sub, nodes.Mul: operator.mul, nodes.Div: operator.truediv,
    nodes.FloorDiv: operator.floordiv, nodes.Mod: operator.mod,
}
_NODE: dict[type[nodes.Node], Callable[[Evaluation, Any], Any]] = {
    nodes.Name: Evaluation.name, nodes.Const: Evaluation.constant, nodes.TemplateData: Evaluation.constant,
    nodes.Getattr: Evaluation.attribute, nodes.Getitem: Evaluation.attribute,
    nodes.CondExpr: Evaluation.condition, nodes.And: Evaluation.either, nodes.Or: Evaluation.either,
    nodes.Not: Evaluation.negated, nodes.Neg: Evaluation.sign, nodes.Pos: Evaluation.sign,
    nodes.Concat: Evaluation.concatenation, nodes.Compare: Evaluation.comparison,
    nodes.Filter: Evaluation.filtered, nodes.Test: Evaluation.tested,
    **dict.fromkeys(_ARITHMETIC, Evaluation.arithmetic),
}
# fmt: on
_NODES: tuple[type[nodes.Node], ...] = (*_NODE, nodes.Operand)


def not_allowed(node: nodes.Node) -> str:
    match node:
        case nodes.Name() if node.name not in ("value", "value_json"):
            return node.name
        case nodes.Filter() if node.name not in _FILTERS or node.node is None or node.kwargs:
            return f"filter {node.name}"
        case nodes.Test() if node.name not in _TESTS or node.args or node.kwargs:
            return f"test {node.name}"
        case nodes.BinExpr() if type(node) not in _ARITHMETIC and not isinstance(node, nodes.And | nodes.Or):
            return type(node).__name__
        case nodes.Operand() if node.op not in _COMPARED:
            return f"comparison {node.op}"
    return "" if isinstance(node, _NODES) else type(node).__name__
