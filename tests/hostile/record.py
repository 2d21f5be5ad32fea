"""``python -m tests.hostile.record``: record the captures anew, from a session of each kind."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from open61850.data import BoolData, IECData, VisibleStringData
from open61850.mms import MmsClient, ObjectName, control, rcb
from open61850.mms.control import Origin
from open61850.mms.errors import MmsError

from tests.hostile.ber import Node, encode
from tests.hostile.capture import FOLDER, tapped, write
from tests.support.brokers import mosquitto
from tests.support.iec61850_client import Iec61850Client, RefusedError, iec61850
from tests.support.mms import scene

DOMAINS, VARIABLES, LISTS = 9, 0, 2  # object classes of GetNameList
Session = Callable[[MmsClient, str], object]


def names(client: MmsClient, domain: str) -> None:
    """Name lists and types."""
    client.get_name_list(DOMAINS)
    client.get_name_list(VARIABLES, domain)
    client.get_name_list(LISTS, domain)
    client.get_type(f"{domain}/MMXN1.Vol[MX]")
    client.get_type(f"{domain}/CSWI1.Pos[CO]")


def reads(client: MmsClient, domain: str) -> None:
    """Single, structured and several variables."""
    client.read(f"{domain}/MMXN1.Vol[MX]")
    client.read(ObjectName("MMXN1", domain))
    client.read_many([f"{domain}/MMXN1.Vol[MX]", f"{domain}/XSWI1.Pos[ST]", f"{domain}/LLN0.NamPlt[DC]"])


def writes(client: MmsClient, domain: str) -> None:
    """Values that nobody may write, written as they are."""
    for reference in ("LLN0.NamPlt.d[DC]", "CSWI1.Pos.ctlModel[CF]", "MMXN1.Vol.mag.f[MX]"):
        value = client.read(f"{domain}/{reference}")
        with suppress(MmsError):
            client.write(f"{domain}/{reference}", value)


def controls(client: MmsClient, domain: str) -> None:
    """Select, operate and cancel of a relay that is closed already."""
    value = control.oper_value(True, origin=Origin(3, b"desk 4"), ctl_num=1)  # closed already: refused
    for attribute in ("SBOw", "Oper"):
        with suppress(MmsError):
            client.write(ObjectName(f"CSWI1$CO$Pos${attribute}", domain), value)
    with suppress(MmsError):
        client.write(
            ObjectName("CSWI1$CO$Pos$Cancel", domain), control.cancel_value(True, origin=Origin(3, b"desk 4"))
        )


def blocks(client: MmsClient, domain: str) -> None:
    """Enable the first block of each kind, by every attribute that a client writes, and keep them so."""
    for lists in ("RP", "BR"):
        name = next(n for d in client.get_name_list(DOMAINS) for n in _blocks(client, d, lists))
        rcb.read_status(client, name)
        rcb.enable(client, name, rcb.RcbSettings(purge_buf=True, buf_tm_ms=100, intg_pd_ms=1000))


def _blocks(client: MmsClient, domain: str, kind: str) -> list[ObjectName]:
    items = client.get_name_list(VARIABLES, domain)
    return [ObjectName(item, domain) for item in items if rcb.is_rcb_name(item) and f"${kind}$" in item]


def data_sets(client: MmsClient, _domain: str) -> None:
    """Members and values of the first data set."""
    for domain in client.get_name_list(DOMAINS):
        for item in client.get_name_list(LISTS, domain):
            name = ObjectName(item, domain)
            client.get_data_set_members(name)
            return


def own_reports(client: MmsClient, domain: str) -> None:
    """A report block on a data set of the association, which is deleted while the block is enabled."""
    variable = Node(b"\xa1", parts=[Node(b"\x1a", domain.encode()), Node(b"\x1a", b"MMXN1$MX$Vol")])
    member = Node(b"\x30", parts=[Node(b"\xa0", parts=[variable])])
    mine = Node(b"\x82", b"mine")  # ObjectName: aa-specific
    client.request(encode([Node(b"\xab", parts=[mine, Node(b"\xa0", parts=[member])])]))
    true = BoolData(True)
    values: dict[str, IECData] = {
        "Resv": true,
        "DatSet": VisibleStringData("@mine"),
        "RptEna": true,
        "GI": true,
    }
    for attribute, value in values.items():
        client.write(ObjectName(f"LLN0$RP$urcbVol02${attribute}", "SMGW001GW"), value)
    with suppress(MmsError):
        client.request(encode([Node(b"\xad", parts=[Node(b"\x80", b"\0"), Node(b"\xa1", parts=[mine])])]))


FILE = {"name": "/SCL/SMGW001.cid"}


def files(client: Iec61850Client, _domain: str) -> None:
    """Identify, and the file services, which the server refuses."""
    client.ask("identify")
    for action, name in (("files", {"folder": "/SCL"}), ("file", FILE), ("delete_file", FILE)):
        with suppress(RefusedError):
            client.ask(action, **name)


def dynamic(client: Iec61850Client, domain: str) -> None:
    """Data sets of the association and of the device: created, read, deleted."""
    members = [f"{domain}/MMXN1.Vol[MX]", f"{domain}/XSWI1.Pos[ST]"]
    for reference in ("@mine", f"{domain}/LLN0.ours"):
        client.ask("create", reference=reference, members=members)
        client.ask("members", reference=reference)
        client.ask("values", reference=reference)
        client.ask("delete", reference=reference)


SESSIONS: dict[str, Session] = {
    "names": names,
    "reads": reads,
    "writes": writes,
    "control": controls,
    "blocks": blocks,
    "data_sets": data_sets,
    "own_reports": own_reports,
}
LIBIEC61850_SESSIONS: dict[str, Callable[[Iec61850Client, str], object]] = {
    "files": files,
    "dynamic": dynamic,
}
"""What open61850 has no functions for."""


async def record(folder: Path) -> None:
    """Every session of the table, each over an association of its own."""
    with tempfile.TemporaryDirectory() as tmp, mosquitto(Path(tmp)) as broker:
        async with scene(broker) as running:
            meter = await running.add_meter(1)
            await meter.read(voltage=230.0)
            await running.publish_cid()
            (await running.associate()).close()
            for name, session in SESSIONS.items():
                await asyncio.to_thread(_record, folder / f"{name}.hex", running.port, session, meter.domain)
            for name, asked in LIBIEC61850_SESSIONS.items():
                await asyncio.to_thread(
                    _record_libiec61850, folder / f"{name}.hex", running.port, asked, meter.domain
                )


def _record(path: Path, port: int, session: Session, domain: str) -> None:
    with tapped("127.0.0.1", port) as tap, MmsClient.connect("127.0.0.1", tap.port, timeout=5.0) as client:
        session(client, domain)
    comment = (session.__doc__ or session.__name__).strip()
    write(path, f"open61850: {comment}", tap.packets)


def _record_libiec61850(
    path: Path, port: int, session: Callable[[Iec61850Client, str], object], domain: str
) -> None:
    with tapped("127.0.0.1", port) as tap, iec61850() as client:
        client.ask("connect", port=tap.port)
        session(client, domain)
        packets = tap.packets
        client.ask("close")
    write(path, f"libiec61850: {(session.__doc__ or '').strip()}", packets)


if __name__ == "__main__":
    asyncio.run(record(FOLDER))
