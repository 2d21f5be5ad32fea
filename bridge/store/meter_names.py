"""Which meter a text means: errors, and the choice between several.

>>> canonical("SM_3f2504e04f8941d39a0c0305e82c3301"), canonical("House 1")
('3f2504e0-4f89-41d3-9a0c-0305e82c3301', 'House 1')
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from bridge.store.tables import Meter
from broker.contract.errors import ConfigurationError, ContractError, Meter61850Error
from broker.contract.topics import meter_id_of

T = TypeVar("T")
ALL = "meter61850 meters list shows them all"


class UnknownMeterError(Meter61850Error, LookupError):
    """No meter is called so, or it is not clear which one."""


class AmbiguousMeterError(UnknownMeterError, ConfigurationError):
    """More than one meter is called so."""


def canonical(name: str) -> str:
    """The meter_id that an old name of a logical device has in it; any other name as it is."""
    try:
        return meter_id_of(name)
    except ContractError:
        return name


def meter_or_identity(name: str, find: Callable[[str], Meter]) -> str:
    """The meter_id of the meter that ``find`` has for ``name``; any other name is an identity's.

    AmbiguousMeterError if several meters are called so.
    """
    try:
        return find(name).meter_id
    except AmbiguousMeterError:
        raise
    except UnknownMeterError:
        return name


def only(found: Sequence[T], name: str, meter: Callable[[T], Meter]) -> T:
    """The one that ``name`` means: the only one, or the only one in service; UnknownMeterError."""
    if not found:
        raise UnknownMeterError(f"no meter is called {name[:64]!r}: {ALL}")
    if len(found) == 1:
        return found[0]
    in_service = [one for one in found if meter(one).retired_at is None]
    if len(in_service) == 1:
        return in_service[0]
    first = meter(found[0]).meter_id
    raise AmbiguousMeterError(
        f"{len(found)} meters are called {name[:64]!r}: use a meter_id, such as {first}; {ALL}"
    )
