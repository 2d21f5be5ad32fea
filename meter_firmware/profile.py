"""What a meter tells about itself: everything in the birth that does not change while it runs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from broker.contract.birth import Birth, Hardware
from broker.host_clock import kept
from broker.version import VERSION
from meter_firmware import clock
from meter_firmware.settings import Identity


@dataclass(frozen=True)
class Profile:
    """Who and where, what is on the wall, what it measures and how often (s)."""

    meter_id: str
    identity: Identity
    hardware: Hardware
    quantities: tuple[str, ...]
    interval: float
    clock_synchronized: bool | None = None
    """None: ask the kernel."""
    relay: bool = True
    """False: there is none."""
    instance: str = field(default_factory=lambda: secrets.token_hex(8), compare=False)
    """Of this run of the program."""

    def synchronized(self) -> bool:
        """Whether NTP keeps the clock."""
        return kept(self.clock_synchronized)

    def birth(self, *, ip: str, session: str) -> Birth:
        """The birth for one session; ClockError if we do not know the time."""
        return Birth(
            name=self.identity.name,
            owner=self.identity.owner,
            address=self.identity.address,
            address_code=self.identity.address_code,
            ip=ip,
            hardware=self.hardware,
            firmware=VERSION,
            quantities=self.quantities,
            interval=self.interval,
            clock_synchronized=self.synchronized(),
            relay=self.relay,
            instance=self.instance,
            session=session,
            ts=clock.now(),
        )
