"""Which devices become meters: by rules in adapters.toml, and by a file that ``adapter accept`` writes.

Nothing is accepted by itself. What names one device counts before a pattern; of patterns the first counts.

>>> rule = Rule(family="tasmota", device="plug*", name="Plug of {name}", switch=True)
>>> chosen = Acceptance((rule,)).rule("tasmota", "a0b0c0d0e0f4", "plug hall")
>>> identity(chosen, key="a0b0c0d0e0f4", device="plug hall").name
'Plug of plug hall'
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from broker import durable
from broker.contract.errors import ConfigurationError
from broker.contract.messages import Text
from broker.validation import first_complaint
from meter_firmware.settings import Identity, Interval

FILE_NAME = "accepted.json"
_WILD = frozenset("*?[")


class Rule(BaseModel):
    """One row of ``[[accept]]``, or of the file: which devices, and what they become."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Annotated[str, Field(min_length=1, max_length=64)]
    key: Annotated[str, Field(min_length=1, max_length=255)] = "*"
    """The device's key, or a pattern with ``*`` and ``?``; capitals do not matter."""
    device: Annotated[str, Field(min_length=1, max_length=255)] = "*"
    """The name that the device has at its maker's, or a pattern."""
    source: Annotated[str, Field(max_length=32)] = ""
    """Name of the source that has the device, where several have one with its key; empty: any source."""
    name: Text = ""
    """Of the meter; ``{name}`` and ``{key}`` are the device's. Empty: as the device's."""
    owner: Text = ""
    address: Text = ""
    address_code: Text = ""
    switch: bool = False
    """Whether its relay may be switched from here."""
    reverse: bool = False
    """Wired the other way: what it calls import is export."""
    interval: Interval | None = None
    """Seconds between its messages; None: as its family tells, or as the source has it."""

    @model_validator(mode="after")
    def _one_name_for_one_device(self) -> Self:
        fixed = self.name and "{name}" not in self.name and "{key}" not in self.name
        if fixed and not self.is_exact and not exact(self.device):
            raise ValueError(
                f"name {self.name!r} would be that of every device of key {self.key!r}:"
                " use {name} or {key} in it"
            )
        return self

    @property
    def is_exact(self) -> bool:
        """It names one device by its key."""
        return exact(self.key)

    @property
    def place(self) -> tuple[str, str]:
        """Family and key, as they are compared."""
        return self.family, self.key.casefold()

    def takes(self, family: str, key: str, device: str, *, source: str = "") -> bool:
        """Whether the device of this source is one of this rule's."""
        key, device = key.casefold(), device.casefold()
        return (
            self.family == family
            and self.source in ("", source)
            and (self.key.casefold() == key or fnmatchcase(key, self.key.casefold()))
            and (self.device.casefold() == device or fnmatchcase(device, self.device.casefold()))
        )


def exact(pattern: str) -> bool:
    """Whether it has no ``*``, ``?`` or ``[``: it names one device."""
    return not _WILD & set(pattern)


def identity(rule: Rule, *, key: str, device: str) -> Identity:
    """Name, owner and place of the meter; a name of the device that cannot stand becomes its key."""
    named = (rule.name or "{name}").replace("{name}", device).replace("{key}", key)
    place = {"owner": rule.owner, "address": rule.address, "address_code": rule.address_code}
    try:
        return Identity(name=named.strip(), **place)
    except ValidationError:
        return Identity(name="".join(filter(str.isprintable, key))[:255] or "device", **place)


class Acceptance:
    """The rules, those that name one device first."""

    def __init__(self, rules: Sequence[Rule], accepted: Iterable[Rule] = ()) -> None:
        self._exact = {
            rule.place: rule for rule in (*rules, *accepted) if rule.is_exact and rule.device == "*"
        }
        self._others = [rule for rule in rules if rule not in self._exact.values()]

    def rule(self, family: str, key: str, device: str, *, source: str = "") -> Rule | None:
        """The rule for this device of this source; None: it is not accepted."""
        named = self._exact.get((family, key.casefold()))
        if named is not None and named.source in ("", source):
            return named
        others = (rule for rule in self._others if rule.takes(family, key, device, source=source))
        return next(others, None)


def read(data_dir: Path) -> tuple[Rule, ...]:
    """What was accepted by command; ConfigurationError if the file is damaged."""
    path = data_dir / FILE_NAME
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return tuple(Rule.model_validate(row) for row in told["accepted"])
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise ConfigurationError(f"{path} is damaged: {first_complaint(error)}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is damaged ({error}): restore it from a copy, or remove it"
        ) from error


def change(data_dir: Path, *, add: Iterable[Rule] = (), remove: Iterable[tuple[str, str]] = ()) -> None:
    """Add and replace, or remove, rows of the file, all or none; `read`'s errors, and OSError."""
    durable.make_folder(data_dir)
    with durable.locked(data_dir / f".{FILE_NAME}.lock"):
        rows = {rule.place: rule for rule in read(data_dir)}
        for place in remove:
            rows.pop((place[0], place[1].casefold()), None)
        rows |= {rule.place: rule for rule in add}
        told = {"accepted": [row.model_dump(exclude_defaults=True) for row in rows.values()]}
        durable.replace(
            data_dir / FILE_NAME,
            (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode(),
            mode=durable.SECRET,
        )
