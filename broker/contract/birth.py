"""What a meter tells of itself at each connect.

>>> birth = b'{"name":"house 12","hardware":{"serial":"1"},"firmware":"1","interval":10,"session":"a1",'
>>> Birth.model_validate_json(birth + b'"ts":"2026-11-23T12:00:00Z"}').name
'house 12'
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from broker.contract.messages import Message, Text, Timestamp, Token
from broker.contract.quantities import HOUSEHOLD, NAME


class Hardware(Message):
    """What is on the wall; IEC 61850 shows it as LPHD1.PhyNam."""

    vendor: Text = ""
    model: Text = ""
    serial: Text
    """Serial number of the device; a meter_id belongs to one serial for ever."""


QuantityLabel = Annotated[str, StringConstraints(pattern=NAME)]
"""Name of a quantity, also one that only a newer meter knows."""


class Birth(Message):
    """A meter registers itself: who and where it is, what it measures. Retained."""

    name: Text
    owner: Text = ""
    address: Text = ""
    """Street address of the installation."""
    address_code: Text = ""
    """Postal (zip) code or any other address code; IEDs may be filled by it."""
    ip: Text = ""
    hardware: Hardware
    firmware: Text
    """Version of the firmware."""
    quantities: tuple[QuantityLabel, ...] = HOUSEHOLD
    """Names of what is measured; unknown ones are of a newer meter and are kept."""
    relay: bool = True
    """False without a relay: no ``relay`` topic, no CSWI and XSWI, and every command is refused."""
    interval: Annotated[float, Field(gt=0, le=86_400)]
    """Seconds between readings."""
    clock_synchronized: bool = True
    """False when the meter has no NTP: its ``t`` then says clock-not-synchronized in MMS."""
    instance: Token | None = None
    """Fresh at each start of the meter's program: two that come in turn are two meters with one identity."""
    session: Token
    ts: Timestamp
    repeated: bool | None = None
    """True: the bridge repeats what a broker has lost, for a meter that may be away; no sign of life."""
