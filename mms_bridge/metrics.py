"""What the MMS bridge tells Prometheus, and when it is healthy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from broker.metrics import MetricsServer, Sample
from mms_bridge.gateway import Gateway
from mms_bridge.settings import MmsSettings


@contextmanager
def observed(gateway: Gateway, settings: MmsSettings) -> Iterator[None]:
    """Serve the gateway's metrics while the block runs; nothing when no port is set."""
    if settings.metrics_port is None:
        yield
        return
    with MetricsServer(
        settings.metrics_port,
        samples(gateway),
        healthy=lambda: illness(gateway),
        address=settings.metrics_address,
    ):
        yield


def illness(gateway: Gateway) -> str:
    """Why the bridge is not healthy; empty when it is."""
    if not gateway.fleet.broker_up:
        return "no connection to the broker"
    meters = list(gateway.fleet.meters.values())
    if meters and any(meter.online for meter in meters) and all(meter.stale for meter in meters):
        return "no reading flows: every meter's values are stale"
    if gateway.unserved:
        return f"not served: {', '.join(sorted(gateway.unserved))}"
    return ""


def samples(gateway: Gateway) -> tuple[Sample, ...]:
    """The MMS bridge's metrics."""
    counted = gateway.counters
    # fmt: off
    return (
        Sample("mms_received", "MQTT messages taken", "counter", lambda: counted["received"]),
        Sample("mms_rejected", "MQTT messages that are not of the contract", "counter",
               lambda: counted["rejected"]),
        Sample("mms_updates", "Updates of a meter's data objects", "counter", lambda: counted["updates"]),
        Sample("mms_reconnects", "Connections to the broker that were lost", "counter",
               lambda: counted["disconnects"]),
        Sample("mms_generations", "CIDs that were taken into service", "counter",
               lambda: counted["generations"]),
        Sample("mms_connections", "MMS connections by what became of them", "counter",
               lambda: _connections(gateway), label="fate"),
        Sample("mms_access", "Clients, by what access control did with them, and files that say who may come",
               "counter", lambda: dict(gateway.listeners.associations.counters), label="event"),
        Sample("mms_tls_clients", "Clients that are here over TLS", "gauge",
               lambda: sum(1 for _ in gateway.listeners.associations.sessions)),
        Sample("mms_commands", "Commands from MMS by outcome", "counter",
               lambda: dict(gateway.control.counters), label="outcome"),
        Sample("mms_broker_up", "1 while connected to the broker", "gauge",
               lambda: float(gateway.fleet.broker_up)),
        Sample("mms_wait_hook", "1 while libiec61850 does not wait in our calls, 0 when it is slower",
               "gauge",
               lambda: float(gateway.wait_hook)),
        Sample("mms_meters", "Meters that are known", "gauge", lambda: len(gateway.fleet.meters)),
        Sample("mms_meters_online", "Meters that are online", "gauge", lambda: gateway.fleet.online),
        Sample("mms_meters_stale", "Meters whose reading is stale", "gauge",
               lambda: sum(meter.stale for meter in list(gateway.fleet.meters.values()))),
        Sample("mms_associations", "Open MMS associations by IED", "gauge",
               lambda: {name: ied.associations for name, ied in list(gateway.ieds.items())}, label="ied"),
    )
    # fmt: on


def _connections(gateway: Gateway) -> dict[str, float]:
    """Accepted; refused because of the limit; given up; turned away; closed with an old model."""
    counters = [ied.counters for ied in list(gateway.ieds.values())]
    return {
        "accepted": sum(counted.accepted for counted in counters),
        "refused": sum(counted.refused for counted in counters),
        "given up": sum(counted.given_up for counted in counters),
        "turned away": sum(counted.turned_away for counted in counters),
        "drained": sum(counted.drained for counted in counters),
    }
