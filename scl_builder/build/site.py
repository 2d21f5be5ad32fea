"""Substation and Communication (IEC 61850-6, 9.2 and 9.4): where the meters are, and where IEDs listen.

There is a substation for each IED and a bay for each address code, and nothing here names a resident. The
meters' switches stand in their bay as LNodes: to wrap each in a ConductingEquipment costs 62 bytes a meter.
Meters that a topology names are in its substations instead (single_line.py).

>>> bay_name("7530"), bay_name(""), bay_name("Çankaya 06")
('Bay_7530', 'Bay', 'Bay_Cankaya06_A5AQRBKA')
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from scl_builder.build.devices import in_order
from scl_builder.build.project import Ied, Meter
from scl_builder.build.render_cache import Remembered
from scl_builder.build.text import digest, visible
from scl_builder.model.logical_devices import meter_nodes

ACCESS_POINT = "AP1"
TLS_ACCESS_POINT = "AP2"
"""The same server (ServerAt), over TLS. IEC 61850-6 has no word for that: desc says it, and the port."""
TLS_DESC = "MMS over TLS with client certificates (IEC 62351-3)"
SUBNETWORK = "MeterNet"
TLS_SUBNETWORK = "MeterNetTLS"
"""The same network: in each of the two an address stands once, if each IED has one of its own."""

_SELECTORS = (("OSI-TSEL", "0001"), ("OSI-SSEL", "0001"), ("OSI-PSEL", "00000001"))
"""Transport, session and presentation selectors that the server listens to."""
_NAME_LIMIT = 32


def bay_name(address_code: str) -> str:
    """Name of the bay for ``address_code``; where letters and digits cannot say it, a mark tells it apart."""
    code = " ".join(address_code.split())
    plain = "".join(char for char in visible(code, _NAME_LIMIT) if char.isalnum())
    if plain == code:
        return f"Bay_{plain}" if plain else "Bay"
    return "_".join(filter(None, ("Bay", plain, digest((("", code),)))))


@Remembered
def substation(ied: Ied, elsewhere: frozenset[str] = frozenset()) -> str:
    """The Substation of one IED, without the meters (inst) that are ``elsewhere``; empty without any left."""
    left = [meter for meter in in_order(ied.owned) if meter.inst not in elsewhere]
    if ied.owned and not left:
        return ""
    bays: dict[str, list[Meter]] = defaultdict(list)
    if not left:
        bays[bay_name("")] = []  # a VoltageLevel has a bay
    for meter in left:
        bays[bay_name(meter.address_code)].append(meter)
    rows = "".join(
        f'<Bay name="{name}">\n{"".join(_lnode(ied.name, meter) for meter in meters)}</Bay>\n'
        for name, meters in sorted(bays.items())
    )
    level = f'<VoltageLevel name="LV">\n{rows}</VoltageLevel>\n'
    return f'<Substation name="{ied.name}_Site">\n{level}</Substation>\n'


def _lnode(ied_name: str, meter: Meter) -> str:
    """The meter's switch; of one without a relay its measurement, else what describes it."""
    nodes = meter_nodes(meter.profile, relay=meter.relay)
    node = nodes[-1] if meter.relay else (*meter.profile.measuring, nodes[1])[0]
    prefix = f' prefix="{node.prefix}"' if node.prefix else ""
    where = f'{prefix} lnClass="{node.ln_class}" lnInst="{node.inst}"'
    return f'<LNode iedName="{ied_name}" ldInst="{meter.inst}"{where}/>\n'


def communication(ieds: Iterable[Ied]) -> str:
    """The Communication section; empty without IEDs."""
    ieds = list(ieds)
    plain = "".join(_point(ied, ACCESS_POINT, ied.port, "") for ied in ieds)
    tls = "".join(
        _point(ied, TLS_ACCESS_POINT, ied.tls_port, f' desc="{TLS_DESC}"')
        for ied in ieds
        if ied.tls_port is not None
    )
    networks = ((SUBNETWORK, plain), (TLS_SUBNETWORK, tls))
    rows = "".join(
        f'<SubNetwork name="{name}" type="8-MMS">\n{points}</SubNetwork>\n'
        for name, points in networks
        if points
    )
    return f"<Communication>\n{rows}</Communication>\n" if rows else ""


def _point(ied: Ied, name: str, port: int, desc: str) -> str:
    address = (("IP", ied.ip), ("IP-SUBNET", ied.subnet), *_SELECTORS, ("MMS-Port", str(port)))
    rows = "".join(f'<P type="{kind}" xsi:type="tP_{kind}">{value}</P>\n' for kind, value in address)
    return (
        f'<ConnectedAP{desc} iedName="{ied.name}" apName="{name}">\n<Address>\n{rows}'
        "</Address>\n</ConnectedAP>\n"
    )


def tls_access_point(ied: Ied) -> str:
    """The IED's second AccessPoint; empty without TLS."""
    if ied.tls_port is None:
        return ""
    return (
        f'<AccessPoint name="{TLS_ACCESS_POINT}" desc="{TLS_DESC}">\n'
        f'<ServerAt apName="{ACCESS_POINT}"/>\n</AccessPoint>\n'
    )
