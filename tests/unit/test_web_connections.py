"""Which connection makes room for another one."""

from __future__ import annotations

from ipaddress import ip_network

from web.serving.connections import Connections


def test_the_oldest_that_waits_makes_room_and_the_busy_stay() -> None:
    connections, ended = Connections(most=3, per_network=2, exempt=()), list[str]()
    visits = {}
    for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.1"), ("c", "192.0.2.1"), ("d", "192.0.2.2")):
        visit = connections.admit(address)
        assert visit is not None
        visit.end = lambda name=name: ended.append(name)  # type: ignore[misc]
        visits[name] = visit
    assert ended == ["a"]
    visits["b"].waits = lambda: False
    assert connections.admit("192.0.2.3") is not None
    assert ended == ["a", "c"]
    for visit in visits.values():
        visit.waits = lambda: False
    assert connections.admit("192.0.2.3") is not None, "one that waits made room"
    assert len(connections) == 3


def test_a_network_is_counted_as_one_and_a_proxy_is_not() -> None:
    connections = Connections(most=100, per_network=1, exempt=[ip_network("127.0.0.1")])
    for _ in range(3):
        visit = connections.admit("127.0.0.1")
        assert visit is not None
        visit.waits = lambda: False
    first = connections.admit("2001:db8::1")
    assert first is not None
    first.waits = lambda: False
    assert connections.admit("2001:db8::2") is None
    assert connections.admit("2001:db8:0:1::1") is not None
    connections.forget(first)
    connections.forget(first)
    assert connections.admit("2001:db8::3") is not None
