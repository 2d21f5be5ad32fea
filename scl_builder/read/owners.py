"""Whose a logical device is: the meter_id in the LDevice's Private.

>>> from lxml import etree
>>> text = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
>>> private = f'<Private type="meter61850:meter_id">{text}</Private>'
>>> owner_of(etree.fromstring(f'<LDevice xmlns="http://www.iec.ch/61850/2003/SCL">{private}</LDevice>'))
'3f2504e0-4f89-41d3-9a0c-0305e82c3301'
"""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from scl_builder.model.logical_devices import METER_PRIVATE, checked_meter_id
from scl_builder.read.scl_xml import NS


def owner_of(device: etree._Element) -> str:
    """The meter_id of an LDevice, empty without one; ValueError for what is no meter_id."""
    for private in device.iterchildren(f"{NS}Private"):
        if private.get("type") == METER_PRIVATE:
            return checked_meter_id((private.text or "").strip())
    return ""


def check_owners(meter_ids: Iterable[str]) -> None:
    """ValueError if a meter has two logical devices; the empty meter_id is nobody's."""
    seen: set[str] = set()
    for meter_id in filter(None, meter_ids):
        if meter_id in seen:
            raise ValueError(f"meter_id {meter_id} has more than one LDevice")
        seen.add(meter_id)
