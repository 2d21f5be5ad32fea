"""How the logical devices of a server are called, and which one a user means.

A device has its MMS domain, the number at the domain's end, the name on its name plate (LLN0.NamPlt), and the
id of the meter that it shows (LPHD1.PhyNam.mRID).

>>> plates = NamePlates((NamePlate("SMGW001M17", ("House 17",)), NamePlate("SMGW001GW")))
>>> plates.find("House 17").domain, plates.find("M17").domain
('SMGW001M17', 'SMGW001M17')
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from open61850.data import IECData, MmsStringData, VisibleStringData
from open61850.mms import OBJECT_CLASS_DOMAIN, MmsClient, ObjectName
from open61850.mms.errors import DataAccessError

from admin.exits import NotFoundError
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.topics import meter_id_of

_TOLD = ("LLN0$DC$NamPlt$dU", "LLN0$DC$NamPlt$d", "LPHD1$DC$PhyNam$mRID")
_AT_ONCE = 20 * len(_TOLD)
"""Values in one request: so many names fit into one MMS message."""
_NUMBER = re.compile(r"M[1-9]\d*")
_LISTED = 5


@dataclass(frozen=True)
class NamePlate:
    """One logical device."""

    domain: str
    names: tuple[str, ...] = ()
    """dU and d of its name plate, as far as there are any."""
    meter_id: str = ""

    @property
    def name(self) -> str:
        """The name, as exactly as the server has it."""
        return self.names[0] if self.names else ""

    def is_called(self, text: str) -> bool:
        """Whether ``text`` is its number, its meter's id in either form, or its name."""
        number = _NUMBER.fullmatch(text) is not None and self.domain.endswith(text)
        return number or text in self.names or (bool(self.meter_id) and _meter_id(text) == self.meter_id)

    def __str__(self) -> str:
        told = [f'"{self.name}"' if self.name else "", f"meter_id {self.meter_id}" if self.meter_id else ""]
        words = ", ".join(filter(None, told))
        return f"{self.domain} ({words})" if words else self.domain


@dataclass(frozen=True)
class NamePlates:
    """Those of one server."""

    plates: Sequence[NamePlate]

    @cached_property
    def _by_domain(self) -> dict[str, NamePlate]:
        return {plate.domain: plate for plate in self.plates}

    def __getitem__(self, domain: str) -> NamePlate:
        """The plate of ``domain``, empty if the server has none."""
        return self._by_domain.get(domain) or NamePlate(domain)

    def find(self, text: str) -> NamePlate:
        """What ``text`` names; NotFoundError without one, ConfigurationError naming those that it may be."""
        found = [plate for plate in self.plates if plate.domain == text]
        found = found or [plate for plate in self.plates if plate.is_called(text)]
        if not found:
            raise NotFoundError(
                f"no logical device, meter or house is called {text[:80]!r}: "
                "`meter61850 mms browse` without it lists all"
            )
        if len(found) > 1:
            more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            named = "; ".join(map(str, found[:_LISTED])) + more
            raise ConfigurationError(
                f"{len(found)} logical devices are called {text[:80]!r}: {named}: use the first word of one"
            )
        return found[0]


NO_PLATES = NamePlates(())


def read_plates(client: MmsClient, domains: Iterable[str] | None = None) -> NamePlates:
    """The plates of ``domains``, or of all: a request for each 20."""
    chosen = client.get_name_list(OBJECT_CLASS_DOMAIN) if domains is None else list(dict.fromkeys(domains))
    return NamePlates(tuple(_plates(client, chosen)))


def find(client: MmsClient, text: str) -> NamePlate:
    """What ``text`` names on this server; a domain is found without reading the other plates."""
    domains = client.get_name_list(OBJECT_CLASS_DOMAIN)
    return read_plates(client, [text] if text in domains else domains).find(text)


def _plates(client: MmsClient, domains: Sequence[str]) -> Iterator[NamePlate]:
    names = [ObjectName(item, domain) for domain in domains for item in _TOLD]
    told = [
        _text(result)
        for start in range(0, len(names), _AT_ONCE)
        for result in client.read_many(names[start : start + _AT_ONCE])
    ]
    for place, domain in enumerate(domains):
        exact, plain, meter_id = told[len(_TOLD) * place : len(_TOLD) * (place + 1)]
        yield NamePlate(domain, tuple(dict.fromkeys(filter(None, (exact, plain)))), meter_id)


def _text(value: IECData | DataAccessError) -> str:
    """A text, empty for what the server does not have."""
    return value.value if isinstance(value, VisibleStringData | MmsStringData) else ""


def _meter_id(text: str) -> str:
    """``text``, or the meter_id whose old name it is."""
    try:
        return meter_id_of(text)
    except ContractError:
        return text
