"""What the fields of a class mean: the string below each in its source.

>>> from broker.calendar import CalendarSettings
>>> attribute_docstrings(CalendarSettings)["time_zone"][:23]
"The utility's time zone"
"""

from __future__ import annotations

import ast
import inspect
from typing import Any


def attribute_docstrings(model: type[Any]) -> dict[str, str]:
    """Field name → the string below it in the source: the units stand there."""
    (tree,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(below, ast.Expr)
            and isinstance(field.target, ast.Name)
        ):
            text = ast.literal_eval(below.value)
            found[field.target.id] = " ".join(text.split())
    return found
