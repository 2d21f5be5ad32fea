"""Floods: births, nodes, devices and held messages are bounded, and spare the device that is there."""

from __future__ import annotations

from adapters.family import Step
from adapters.sparkplug.payload import Metric
from tests.support.edge import Host, causes, message, node_birth, power, values

NODE, DEVICE = "spBv1.0/G/{}/n", "spBv1.0/G/{}/n/d"


def born() -> Host:
    host = Host()
    host.take(NODE.format("NBIRTH"), node_birth())
    host.take(DEVICE.format("DBIRTH"), message(1, power(5.0)))
    return host


def test_a_flood_of_births_is_bounded_and_spares_who_is_there() -> None:
    host = born()
    host.family.budget.left = 5000
    many = tuple(power(1.0, name=f"m{n}", alias=n) for n in range(900))
    found: list[str] = []
    for node in range(8):
        found += causes(host.take(f"spBv1.0/F/NBIRTH/{node}", node_birth(0, 3, *many)))
    assert found.count("sparkplug too much") == 8 - 5
    assert len(values(host.take(DEVICE.format("DDATA"), message(2, power(6.0, name=None))))) == 1


def test_a_flood_of_nodes_is_bounded_and_spares_who_is_there() -> None:
    host = born()
    found = [cause for n in range(10_001) for cause in causes(host.take(f"spBv1.0/F/NDATA/{n}", message(1)))]
    assert found.count("sparkplug nodes") == 2
    assert len(values(host.take(DEVICE.format("DDATA"), message(2, power(6.0, name=None))))) == 1


def test_data_and_deaths_make_no_device() -> None:
    host = born()
    for n in range(2, 60):
        host.take(f"spBv1.0/G/{'DDATA' if n % 2 else 'DDEATH'}/n/other{n}", message(n))
    assert causes(host.switch("G/n/other3", "open")) == ["'G/n/other3' is not known"]


def test_what_is_held_is_bounded() -> None:
    host = born()
    big = Metric(name="x", place=power(1.0).place, raw=1.0, properties={"p": "x" * 400_000})
    steps: list[Step] = []
    for seq in (5, 6, 7):
        steps += host.take(DEVICE.format("DDATA"), message(seq, big))
    assert causes(steps) == ["sparkplug gap"]
