"""The relay hurts in the way that it says, seen from both ends."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.relay import Network, Relay

PATIENCE = 5.0
SHORT = 0.2


@dataclass
class Ends:
    """A relay, the client's socket, and the server's."""

    relay: Relay
    client: socket.socket
    server: socket.socket
    listener: socket.socket

    def connected_again(self) -> socket.socket:
        """Another client."""
        return socket.create_connection(("127.0.0.1", self.relay.port), PATIENCE)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with Network() as network, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        relay = network.relay(listener.getsockname())
        with socket.create_connection(("127.0.0.1", relay.port), PATIENCE) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(PATIENCE)
                client.sendall(b"there")
                assert server.recv(10) == b"there"  # the relay carries it, and can be told to hurt it
                yield Ends(relay, client, server, listener)


def silent(sock: socket.socket) -> bool:
    """Nothing comes for a moment, and the connection stays."""
    sock.settimeout(SHORT)
    try:
        return sock.recv(10) == b"never"
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE)


def test_both_ways_are_carried_and_an_end_is_an_end(ends: Ends) -> None:
    ends.client.sendall(b"up")
    assert ends.server.recv(10) == b"up"
    ends.server.sendall(b"down")
    assert ends.client.recv(10) == b"down"
    ends.client.shutdown(socket.SHUT_WR)
    assert ends.server.recv(10) == b""
    ends.server.sendall(b"still")
    assert ends.client.recv(10) == b"still"


def test_a_cut_resets_and_refuses_until_restored(ends: Ends) -> None:
    ends.relay.cut()
    for sock in (ends.client, ends.server):
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    with pytest.raises(ConnectionResetError), ends.connected_again() as refused:
        refused.recv(10)
    ends.relay.restore()
    with ends.connected_again() as client:
        client.sendall(b"again")
        server, _ = ends.listener.accept()
        with server:
            assert server.recv(10) == b"again"


def test_a_stalled_way_keeps_everything_until_it_resumes(ends: Ends) -> None:
    ends.relay.stall("down")
    ends.server.sendall(b"late")
    ends.client.sendall(b"up")
    assert ends.server.recv(10) == b"up"
    assert silent(ends.client)
    ends.relay.resume()
    assert ends.client.recv(10) == b"late"


def test_half_a_close_leaves_the_other_way(ends: Ends) -> None:
    ends.relay.half_close("down")
    assert ends.client.recv(10) == b""
    ends.client.sendall(b"up")
    assert ends.server.recv(10) == b"up"


def test_a_delay_is_waited_for(ends: Ends) -> None:
    ends.relay.delay = 0.3
    began = time.monotonic()
    ends.client.sendall(b"up")
    assert ends.server.recv(10) == b"up"
    assert time.monotonic() - began >= 0.3


def test_a_server_that_is_away_is_a_reset(ends: Ends) -> None:
    ends.listener.close()
    with pytest.raises(ConnectionResetError), ends.connected_again() as refused:
        refused.recv(10)
