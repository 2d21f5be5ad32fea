"""Client rights: the file that ``METER61850_MMS_CLIENTS`` names.

A client's name is its certificate's common name (CN). A rights file is TOML::

    default = "observe"           # for a certificate of our CA that is not listed; refused without this line

    [clients."control-centre"]
    rights = "control"            # or observe: read, reports
    addresses = ["10.0.0.0/24"]   # from these addresses only; from anywhere without this line

>>> read_rights('clients.scada.rights = "control"').of("scada", "10.0.0.5")
<Right.CONTROL: 'control'>
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from broker.contract.errors import ConfigurationError
from broker.validation import first_complaint
from mms_bridge.settings import Right

CommonName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""ub-common-name of X.520."""


@dataclass(frozen=True)
class Client:
    """Who is at the other end of an association."""

    address: str
    """IP address and port."""
    name: str = ""
    """Common name of its certificate; empty on the plain port, which has no login."""
    fingerprint: str = ""
    """SHA-256 of its certificate, as hex."""

    def __str__(self) -> str:
        if not self.name:
            return self.address
        return f"{self.name} sha256:{self.fingerprint} from {self.address}"

    @property
    def identity(self) -> str:
        """The same for all its associations: the certificate's name, on the plain port the IP address."""
        return f"CN={self.name}" if self.name else self.address.rpartition(":")[0]

    @property
    def short(self) -> str:
        """For an origin that the client left empty: at most 64 octets."""
        return (self.name or self.address).encode()[:64].decode(errors="ignore")


class ClientEntry(BaseModel):
    """One client of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rights: Right
    addresses: tuple[IPv4Network, ...] = ()


class Rights(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: Right | None = None
    clients: dict[CommonName, ClientEntry] = Field(default_factory=dict)

    def of(self, name: str, address: str) -> Right | None:
        """What the certificate called ``name`` may, coming from IP ``address``; None: it may not come."""
        entry = self.clients.get(name)
        if entry is None:
            return self.default
        return entry.rights if not entry.addresses or within(address, entry.addresses) else None


def within(address: str, networks: tuple[IPv4Network, ...]) -> bool:
    """Whether the IP address is in one of the networks."""
    there = IPv4Address(address)
    return any(there in network for network in networks)


def read_rights(text: str) -> Rights:
    """The file's content; ConfigurationError names what is wrong in it."""
    try:
        return Rights.model_validate(tomllib.loads(text.removeprefix("\ufeff")))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(first_complaint(error)) from error
