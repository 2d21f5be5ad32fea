"""A client's address, and the network that counts as one client.

A house or a phone has a whole /64 of IPv6 (RFC 6177), so limits count it as one; an IPv4 address is one.

>>> network_of("2001:db8:1:2:3::4"), network_of("192.0.2.7"), network_of("::ffff:192.0.2.7")
('2001:db8:1:2::/64', '192.0.2.7', '192.0.2.7')
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Network = IPv4Network | IPv6Network


def address(text: str) -> IPv4Address | IPv6Address | None:
    """The IP address that ``text`` is, with or without brackets, zone and port; None if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def network_of(text: str) -> str:
    """What limits count as one client: an IPv4 address, or a /64 of IPv6; else ``text`` itself."""
    found = address(text)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, 64), strict=False))
    return text if found is None else str(found)


def is_of(text: str, networks: Sequence[Network]) -> bool:
    """Whether the address ``text`` lies in one of ``networks``."""
    found = address(text)
    return found is not None and any(found in network for network in networks)
