"""What an identity of the broker may be; `broker.contract.specs.SPECS` names who may write and read what.

>>> Role("mms")
<Role.MMS: 'mms'>
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What an identity may do; `registrar.acl` writes it as the broker's access control list."""

    METER = "meter"
    BRIDGE = "bridge"
    MMS = "mms"
    REGISTRAR = "registrar"
    WEB = "web"
    ADMIN = "admin"
    OPERATOR = "operator"
    """Reads, everything or the meters of its address codes."""
    ISSUER = "issuer"
    """An operator who may also switch relays."""
    HOMEASSISTANT = "homeassistant"
    """Home Assistant, and the program that announces our meters to it: reads as an operator, and has
    Home Assistant's discovery topics."""
    HOMEASSISTANT_ISSUER = "homeassistant-issuer"
    """The same, which may also switch relays."""
    CREDIT = "credit"
    """The service that cuts and restores houses for their credit: commands, and what they are judged by."""


PEOPLE = (Role.OPERATOR, Role.ISSUER, Role.HOMEASSISTANT, Role.HOMEASSISTANT_ISSUER, Role.CREDIT)
"""Roles that an administrator gives, beside those of meters and of the services of every deployment."""
HOMEASSISTANTS = (Role.HOMEASSISTANT, Role.HOMEASSISTANT_ISSUER)
DISCOVERY = "homeassistant"
"""Home Assistant's discovery prefix: topics beside those of the contract."""
