"""The clients of the report control blocks (IEC 61850-6, 9.3.8: ClientLN), and their IEDs in the SCD.

A client serves nothing: its IED has one access point with one logical node (IHMI) and no server, and the
ClientLN of such a node has ldInst LD0. They are in the SCD alone: the servers reserve no block for them, so
another client in the settings changes no CID.

>>> report_clients(("ControlCentre",))
'<ClientLN iedName="ControlCentre" apRef="AP1" ldInst="LD0" lnClass="IHMI" lnInst="1"/>'
"""

from __future__ import annotations

from collections.abc import Iterable

from scl_builder.model.data_object import BEH, FILE, DataObject, LogicalNode
from scl_builder.model.logical_devices import LD_NAMESPACE

_ACCESS_POINT = "AP1"
_NO_DEVICE = "LD0"
"""ldInst of a logical node that is in no logical device."""
_PLATE = (("vendor", ""), ("swRev", ""), ("lnNs", LD_NAMESPACE))
"""Whose program it is we do not know; without a logical device the node names its name space itself."""
CLIENT_NODE = LogicalNode("IHMI", "1", "ClientIHMI", (
    DataObject("NamPlt", "LPL", FILE, values=_PLATE, leaves_out=("ldNs", "d", "dU", "configRev")),
    BEH,
))  # fmt: skip


def report_clients(clients: Iterable[str]) -> str:
    """A ClientLN for each client, of which the first has the first instance of the block."""
    node = f'lnClass="{CLIENT_NODE.ln_class}" lnInst="{CLIENT_NODE.inst}"'
    return "".join(
        f'<ClientLN iedName="{name}" apRef="{_ACCESS_POINT}" ldInst="{_NO_DEVICE}" {node}/>'
        for name in clients
    )


def client_ied(name: str) -> str:
    """The IED of one client."""
    node = f'lnClass="{CLIENT_NODE.ln_class}" inst="{CLIENT_NODE.inst}" lnType="{CLIENT_NODE.type_id}"'
    return (
        f'<IED name="{name}" type="Client"'
        ' originalSclVersion="2007" originalSclRevision="B" originalSclRelease="4">\n'
        '<Services nameLength="64">\n<ClientServices bufReport="true" unbufReport="true"/>\n</Services>\n'
        f'<AccessPoint name="{_ACCESS_POINT}">\n<LN {node}/>\n</AccessPoint>\n</IED>\n'
    )
