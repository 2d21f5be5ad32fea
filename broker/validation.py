"""One line from pydantic's many: the first thing that is wrong, and where.

>>> try:
...     Stored.model_validate({"epoch": 1, "first": 1})
... except ValidationError as error:
...     first_complaint(error)
'seq: Field required'
"""

from __future__ import annotations

from pydantic import ValidationError


def first_complaint(error: ValidationError) -> str:
    """The place and the first message of ``error``, at most 200 characters."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return (f"{where}: {message}" if where else message)[:200]
