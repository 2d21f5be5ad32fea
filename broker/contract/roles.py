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
