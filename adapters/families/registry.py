"""The families of devices: each is one file (or package) beside this one, which ends in a registration.

>>> family("tasmota").title
'Tasmota'
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from adapters import families as families_package
from adapters.family import Family
from broker.contract.errors import ConfigurationError

Topic = Annotated[str, Field(pattern=r"^[^+#\x00]{1,100}$")]
"""A topic or a part of one, without wildcards."""


class Options(BaseModel):
    """The keys of a family in adapters.toml; an unknown key is refused with its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def shared(self) -> tuple[str, ...]:
        """Topics to which all devices of a source write (`adapters.flood`)."""
        return ()


@dataclass(frozen=True)
class FamilyKind:
    """A family of devices, as adapters.toml names it."""

    name: str
    """As ``family`` in adapters.toml."""
    title: str
    """For people: maker or software."""
    options: type[Options]
    """Its own keys in adapters.toml."""
    make: Callable[[Any], Family]
    """A family for one connection to a broker, made of an object of ``options``."""
    numbered: bool = False
    """Its messages are numbered, or have a memory's values: none may be left out (`adapters.flood`)."""


FAMILIES: dict[str, FamilyKind] = {}
"""What is registered so far; :func:`families` has them all."""


def register(kind: FamilyKind) -> None:
    """Add a family; each file of a family ends with this."""
    if kind.name in FAMILIES:
        raise ValueError(f"two families are called {kind.name}")
    FAMILIES[kind.name] = kind


@cache
def _load() -> None:
    """Import every module beside this one, so that each family registers itself."""
    for module in pkgutil.iter_modules(families_package.__path__, f"{families_package.__name__}."):
        import_module(module.name)


def families() -> dict[str, FamilyKind]:
    """All families by name."""
    _load()
    return FAMILIES


def family(name: str) -> FamilyKind:
    """The family of this name; ConfigurationError names those that there are."""
    known = families()
    if name not in known:
        raise ConfigurationError(f"family {name!r} is not known: use one of {', '.join(sorted(known))}")
    return known[name]
