"""A file without ldName, for tools that want none: IED name and inst together make the same MMS names.

Tools built on iec61850bean reject an FCDA into a logical device that has an ldName. All domains of an IED
begin alike (``SMGW001GW`` and ``SM_…``): what they have in common becomes the IED's name, and the rest of
each becomes its inst. IED names are unique in a file, so that this makes one file for each IED.

>>> common_name(["SMGW001GW", "SM_0123", "SM_4567"])
'S'
"""

from __future__ import annotations

import re

from lxml import etree

from scl_builder.check.document import NS, IedEntry
from scl_builder.check.outline import parse

_INST = re.compile(r"[A-Za-z0-9][0-9A-Za-z_]*")
_FORBIDDEN = "None"


def common_name(domains: list[str]) -> str:
    """The longest IED name with which each of ``domains`` leaves an inst; ValueError if there is none."""
    shortest = min(domains, key=len)
    for length in range(len(shortest), 0, -1):
        name = shortest[:length]
        if name != _FORBIDDEN and all(
            domain.startswith(name) and _INST.fullmatch(domain[length:]) for domain in domains
        ):
            return name
    raise ValueError(f"{', '.join(sorted(domains)[:3])}: no IED name that all begin with")


def without_ld_name(cid: bytes) -> bytes:
    """The same IED, its MMS names unchanged, without ldName; ValueError if ``cid`` is not of one IED."""
    doc = parse(cid)
    if len(doc.ieds) != 1:
        raise ValueError(f"the file has {len(doc.ieds)} IEDs: make it of the CID of one")
    (ied,) = doc.ieds
    if any("ldName" in device.element.attrib for device in ied.devices.values()):
        name = common_name([device.domain for device in ied.devices.values()])
        _rename(doc.root, ied, name)
    text: bytes = etree.tostring(doc.root, xml_declaration=True, encoding="UTF-8")
    return text + b"\n"


def _rename(root: etree._Element, ied: IedEntry, name: str) -> None:
    """Names and all that refers to them: FCDAs, LNodes, ConnectedAPs."""
    insts = {inst: device.domain[len(name) :] for inst, device in ied.devices.items()}
    for element in root.iter(NS + "FCDA", NS + "LNode"):
        if (inst := element.get("ldInst")) in insts:
            element.set("ldInst", insts[inst])
    for element in root.iter("{*}*"):
        if element.get("iedName") == ied.name:
            element.set("iedName", name)
    for inst, device in ied.devices.items():
        device.element.attrib.pop("ldName", None)
        device.element.set("inst", insts[inst])
    ied.element.set("name", name)
