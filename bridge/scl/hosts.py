"""An address for each IED: SMGW001 has the first, SMGW002 the second, for life.

>>> hosts = hosts_of("10.0.0.10-10.0.0.19,10.0.1.5")
>>> len(hosts.addresses), str(hosts.addresses[10]), str(hosts)
(11, '10.0.1.5', '10.0.0.10-10.0.0.19,10.0.1.5')
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

MOST = 1000
"""Addresses; 50,000 meters at 50 in an IED."""


@dataclass(frozen=True)
class Hosts:
    """The addresses, in the order of the IEDs' numbers, and how they were written."""

    text: str
    addresses: tuple[IPv4Address, ...]

    def __str__(self) -> str:
        return self.text


def hosts_of(text: str) -> Hosts:
    """Addresses and ranges with commas between them; ValueError names the part that is wrong."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError("no address: 10.0.0.10-10.0.0.19, or addresses with commas between them")
    addresses = tuple(address for part in parts for address in _range(part))
    seen: set[IPv4Address] = set()
    for address in addresses:
        if address in seen:
            raise ValueError(f"{address} occurs twice: each IED has an address of its own")
        seen.add(address)
    if len(addresses) > MOST:
        raise ValueError(f"{len(addresses)} addresses: at most {MOST}")
    return Hosts(",".join(parts), addresses)


def _range(part: str) -> Iterator[IPv4Address]:
    first, dash, last = part.partition("-")
    start = _address(first.strip(), part)
    end = _address(last.strip(), part) if dash else start
    if end < start:
        raise ValueError(f"{part!r}: the last address of a range is not below the first one")
    if int(end) - int(start) >= MOST:
        raise ValueError(f"{part!r}: at most {MOST} addresses")
    return (start + step for step in range(int(end) - int(start) + 1))


def _address(text: str, part: str) -> IPv4Address:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        raise ValueError(f"{part!r}: an IPv4 address, or a range such as 10.0.0.10-10.0.0.19") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{part!r}: an address at which SCADA reaches an IED")
    return address


def parsed(value: object) -> object:
    """A setting's text as :class:`Hosts`; anything else as it is, for pydantic; empty is none."""
    if not isinstance(value, str):
        return value
    return hosts_of(value) if value.strip() else None
