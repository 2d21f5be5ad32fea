"""Load for `bench.ingest`: readings as MQTT 3.1.1 PUBLISH packets, encoded before the clock starts.

A process of its own, with a few raw TCP connections that each keep to a window of unacknowledged QoS 1
messages; so it costs as little of the machine as a program in Python can. It sends one reading of each
meter, prints ``ready``, waits for a line on stdin, sends the readings that count, and prints the seconds
until the broker had acknowledged them.

    python -m bench.ingest_load --port 1883 --readings 100000 --meters 1000
"""

from __future__ import annotations

import argparse
import selectors
import socket
import ssl
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from struct import pack
from uuid import UUID

from broker.contract.messages import format_ts
from broker.contract.topics import Topics
from broker.mqtt import packets
from broker.mqtt.settings import MqttSettings

PREFIX = "sm/v1"
BEGIN = datetime.now(UTC) - timedelta(hours=1)
EPOCH = int(BEGIN.timestamp() * 1000)


def meter_id(number: int) -> str:
    """The UUID of meter ``number``."""
    return str(UUID(int=0x6185 << 112 | 0x4 << 76 | 0x8 << 60 | number + 1))


def reading(*, epoch: int, seq: int, ts: str) -> bytes:
    """A reading as a meter with a PZEM-004T sends it."""
    return (
        b'{"epoch":%d,"seq":%d,"ts":"%s","voltage":231.2,"current":0.191,"power":21.3,"power_factor":0.48,'
        b'"frequency":50.0,"energy":%d.0,"alarm":false,"instance":"0123456789abcdef"}'
        % (epoch, seq, ts.encode(), 98_414 + seq)
    )


@dataclass
class Connection:
    """One client: its packets, and how far it is."""

    sock: socket.socket
    window: int
    packets: list[bytes] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    _odd_bytes: int = 0

    def add(self, topic: bytes, payload: bytes) -> None:
        """One more retained QoS 1 message; packet identifiers repeat only after their PUBACK."""
        packet_id = len(self.packets) % self.window + 1
        self.packets.append(packets.publish(topic, payload, packet_id=packet_id, retain=True, version=4))

    def fill(self) -> None:
        """Send what the window allows."""
        end = min(len(self.packets), self.acknowledged + self.window)
        if end > self.sent:
            self.sock.sendall(b"".join(self.packets[self.sent : end]))
            self.sent = end

    def receive(self) -> bool:
        """Count PUBACKs, of four bytes each on 3.1.1, and send on; True when all are acknowledged."""
        received = self._odd_bytes + len(self.sock.recv(65536))
        while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():  # select does not know of these
            received += len(self.sock.recv(65536))
        more, self._odd_bytes = divmod(received, 4)
        self.acknowledged += more
        self.fill()
        return self.acknowledged == len(self.packets)


def connect(port: int, number: int) -> socket.socket:
    """A connected MQTT 3.1.1 client with a clean session; over TLS if we have an identity."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls := MqttSettings().tls():
        sock = tls.wrap_socket(sock, server_hostname="127.0.0.1")
    client_id = f"load-{number}".encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + pack(">H", len(client_id)) + client_id
    sock.sendall(b"\x10" + bytes((len(body),)) + body)
    assert sock.recv(4) == b"\x20\x02\x00\x00", "the broker refused the load generator"
    return sock


def prepare(clients: list[Connection], *, first: int, readings: int, meters: int) -> None:
    """``readings`` of ``meters`` in turn from number ``first`` on; a meter keeps to its connection."""
    topics = [Topics(PREFIX).meter(meter_id(number), "reading").encode() for number in range(meters)]
    for number in range(first, first + readings):
        seq, meter = number // meters + 1, number % meters
        ts = format_ts(BEGIN + timedelta(milliseconds=number))
        clients[meter % len(clients)].add(topics[meter], reading(epoch=EPOCH, seq=seq, ts=ts))


def send(clients: list[Connection]) -> float:
    """Send everything; seconds until all of it was acknowledged."""
    begin = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
            client.fill()
        while selector.get_map():
            for key, _ in selector.select():
                if key.data.receive():
                    selector.unregister(key.fileobj)
    return time.perf_counter() - begin


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("port", 1883),
        ("readings", 100_000),
        ("meters", 1000),
        ("connections", 8),
        ("window", 100),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    clients = [
        Connection(connect(options.port, number), options.window) for number in range(options.connections)
    ]
    prepare(clients, first=0, readings=options.meters, meters=options.meters)
    send(clients)
    prepare(clients, first=options.meters, readings=options.readings, meters=options.meters)
    print("ready", flush=True)
    sys.stdin.readline()
    print(f"{send(clients):.6f}", flush=True)


if __name__ == "__main__":
    main()
