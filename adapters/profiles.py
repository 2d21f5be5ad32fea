"""What a metering point becomes: the profile of its meter, by the rule that accepts it.

>>> rule = Rule(family="tasmota", name="Hall")
>>> point = Point("a0b0c0d0e0f4", "plug", "Athom", "PG05", "A0B0C0D0E0F4", quantities=("power",))
>>> source = SourceSettings(name="home", family="tasmota")
>>> profile_of(AdapterSettings(source=(source,)), source, point, rule).identity.name
'Hall'
"""

from __future__ import annotations

from adapters.acceptance import Rule, identity
from adapters.family import Point
from adapters.points import hardware, meter_id_of
from adapters.settings import AdapterSettings, SourceSettings
from meter_firmware.profile import Profile
from meter_firmware.sensors.wiring import Wiring


def has_relay(point: Point, rule: Rule) -> bool:
    """The device has one, and the operator lets it be switched."""
    return point.switch and rule.switch


def quantities(point: Point, rule: Rule | None) -> tuple[str, ...]:
    """That its meter measures."""
    wiring = Wiring(reverse=rule is not None and rule.reverse)
    return wiring.measures(point.quantities)


def profile_of(settings: AdapterSettings, source: SourceSettings, point: Point, rule: Rule) -> Profile:
    """What the meter tells of itself."""
    return Profile(
        meter_id=meter_id_of(source.family, point.key),
        identity=identity(rule, key=point.key, device=point.name),
        hardware=hardware(point),
        quantities=quantities(point, rule),
        interval=rule.interval or point.interval or source.interval,
        clock_synchronized=settings.clock_synchronized,
        relay=has_relay(point, rule),
    )
