"""A line for each thing that pydantic finds wrong, and where; mostly the first one is enough.

>>> try:
...     Stored.model_validate({"epoch": 1, "first": 1})
... except ValidationError as error:
...     first_complaint(error)
'seq: Field required'
"""

from __future__ import annotations

from pydantic import ValidationError


def complaints(error: ValidationError) -> list[str]:
    """Place and message of all that is wrong, each at most 200 characters."""
    found = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in one["loc"])
        message = one["msg"].removeprefix("Value error, ")
        found.append((f"{where}: {message}" if where else message)[:200])
    return found


def first_complaint(error: ValidationError) -> str:
    """The place and the first message of ``error``, at most 200 characters."""
    return complaints(error)[0]
