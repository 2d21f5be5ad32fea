"""Wireshark's dissectors as an independent reader of an association: ``tshark`` on a capture file of our own.

Each TPKT is a frame of the file, in the order in which a :class:`tests.hostile.capture.Tap` heard them,
between port 102 and another one. So no right to capture packets is needed.

>>> dissected(tap.turns, folder)  # doctest: +SKIP
Dissected(client=9, server=9, faults=[])
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.capture import HEADER

CLIENT, SERVER = 50_000, 102
PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 101)
"""Global header of libpcap's format; link type 101: raw IP."""
IP, TCP, PUSH_ACK = 20, 20, 0x18
LOCALHOST = bytes((127, 0, 0, 1))
ERROR = 0x00800000
"""Severity of an expert information of Wireshark (PI_ERROR)."""


@dataclass
class Dissected:
    """What tshark found."""

    client: int = 0
    """Messages of the client that it decoded down to MMS."""
    server: int = 0
    faults: list[str] = field(default_factory=list)
    """Frame, sender, and what is wrong with it."""


def _frames(turns: Iterable[tuple[bool, bytes]]) -> Iterator[bytes]:
    """An IPv4 packet for each TPKT; what is left over at the end is no packet."""
    waiting, sent = {True: b"", False: b""}, {True: 1, False: 1}
    for of_client, chunk in turns:
        waiting[of_client] += chunk
        while len(stream := waiting[of_client]) >= HEADER:
            size = int.from_bytes(stream[2:4])
            if size < HEADER or len(stream) < size:
                break
            ports = (CLIENT, SERVER) if of_client else (SERVER, CLIENT)
            tcp = struct.pack(
                ">HHIIBBHHH", *ports, sent[of_client], sent[not of_client], 0x50, PUSH_ACK, 65_535, 0, 0
            )
            total = IP + TCP + size
            head = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0, 64, 6, 0) + LOCALHOST + LOCALHOST
            yield head + tcp + stream[:size]
            waiting[of_client] = stream[size:]
            sent[of_client] += size


def dissected(turns: Iterable[tuple[bool, bytes]], folder: Path) -> Dissected:
    """What tshark says of an association."""
    file = folder / "association.pcap"
    with file.open("wb") as pcap:
        pcap.write(PCAP)
        for count, frame in enumerate(_frames(turns)):
            pcap.write(struct.pack("<IIII", 0, count, len(frame), len(frame)) + frame)
    tshark = shutil.which("tshark")
    assert tshark is not None, "the tests need tshark: make servers"
    columns = ("frame.number", "tcp.srcport", "frame.protocols", "_ws.malformed", "_ws.expert.severity",
               "_ws.expert.message")  # fmt: skip
    command = [
        tshark,
        "-n",
        "-r",
        str(file),
        "-T",
        "fields",
        *(word for one in columns for word in ("-e", one)),
    ]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    found = Dissected()
    for line in told.splitlines():
        number, port, protocols, malformed, severities, messages = line.split("\t")
        of_client = int(port) == CLIENT
        found.client += of_client and "mms" in protocols.split(":")
        found.server += not of_client and "mms" in protocols.split(":")
        worst = max((int(one) for one in severities.split(",") if one), default=0)
        if malformed or worst >= ERROR:
            who = "client" if of_client else "server"
            found.faults.append(f"frame {number} of the {who}: {malformed} {messages}".strip())
    return found
