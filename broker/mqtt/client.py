"""A client of the broker as its settings say: address, login or certificate, protocol level.

>>> new_client(MqttSettings(), identifier="me")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

import aiomqtt

from broker.mqtt.connecting import connect
from broker.mqtt.settings import NO_DELAY, MqttSettings


def new_client(mqtt: MqttSettings, **more: Any) -> aiomqtt.Client:
    """Not yet connected; ``more`` are aiomqtt's own parameters. CredentialError names a file of no use."""
    client = aiomqtt.Client(
        mqtt.host,
        mqtt.port,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        protocol=aiomqtt.ProtocolVersion(mqtt.version),
        keepalive=mqtt.keepalive,
        socket_options=NO_DELAY,
        tls_context=mqtt.tls(),
        **more,
    )
    paho = client._client  # aiomqtt offers no parameter for how to connect
    paho._create_socket_connection = lambda: connect(mqtt.host, mqtt.port, timeout=paho.connect_timeout)  # type: ignore[method-assign]
    return client
