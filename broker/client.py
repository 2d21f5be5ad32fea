"""A client of the broker as its settings say: address, login or certificate, protocol level.

>>> new_client(MqttSettings(), identifier="me")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

import aiomqtt

from broker.settings import NO_DELAY, MqttSettings


def new_client(mqtt: MqttSettings, **more: Any) -> aiomqtt.Client:
    """Not yet connected; ``more`` are aiomqtt's own parameters. CredentialError names a file of no use."""
    return aiomqtt.Client(
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
