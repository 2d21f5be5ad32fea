"""TOML files of administrators, such as the calendar of tariffs: read, checked, and said what is wrong.

>>> read("default = 3", File, source="tariffs.toml", parts=PARTS)  # doctest: +SKIP
ConfigurationError: tariffs.toml: default: unknown key: use time_zone, version
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from broker.contract.errors import ConfigurationError

MAX_BYTES = 1024 * 1024
"""A longer file is refused: its end may hold what matters most."""
_SAID = {
    "missing": "the key is missing",
    "too_short": "it is empty: name one at least",
    "tuple_type": "it should be a list; [[…]] begins a table of one",
    "frozen_set_type": "it should be a list",
    "model_type": "it should be a table",
}


def text_of(path: Path, *, example: str) -> str:
    """The text of a file; without one a ConfigurationError names ``example``, the command that prints one."""
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigurationError(f"{path}: it has more than {MAX_BYTES} bytes")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}: begin with `{example} > {path}`") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: it is not UTF-8: save it as UTF-8") from error


Model = TypeVar("Model", bound=BaseModel)


def read(
    text: str,
    model: type[Model],
    *,
    source: str,
    parts: Mapping[str, type[BaseModel]],
    parse_float: Callable[[str], Any] = float,
) -> Model:
    """What is in ``text``; ConfigurationError names ``source``, the key, its value, and what would be right.

    ``parts``: what each table of the file can have, by its name.
    """
    try:
        return model.model_validate(tomllib.loads(text, parse_float=parse_float))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source} is not TOML: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"{source}: brackets in brackets, some hundred deep") from None
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {_complaint(error, parts)}") from error


def _complaint(error: ValidationError, parts: Mapping[str, type[BaseModel]]) -> str:
    """The first thing that is wrong: where, the value, and what would be right."""
    one = error.errors(include_url=False)[0]
    where = [part for part in one["loc"] if part != "[key]"]
    place = _place(where)
    if one["type"] == "extra_forbidden":
        table = next((part for part in reversed(where[:-1]) if isinstance(part, str)), "")
        keys = ", ".join(field.alias or name for name, field in parts[table].model_fields.items())
        return f"{place}: unknown key: use {keys}"
    said = _SAID.get(one["type"]) or one["msg"].removeprefix("Value error, ")
    said = said.replace("Input should be", "it should be")
    has_value = place and one["type"] not in ("missing", "too_short")
    return ": ".join(filter(None, (place, repr(one["input"])[:60] if has_value else "", said)))


def _place(where: list[int | str]) -> str:
    """``version 2, times 3, hours 1``: counted from 1."""
    words: list[str] = []
    for part in where:
        if isinstance(part, int):
            words[-1] += f" {part + 1}"
        else:
            words.append(part)
    return ", ".join(words)
