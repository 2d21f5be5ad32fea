"""Whether we could listen on a TCP port, asked before a service starts and with the option to change.

>>> check_free("127.0.0.1", 1883, option="--mqtt-port")  # doctest: +SKIP
Traceback (most recent call last):
PortTakenError: port 1883 is in use: stop what holds it, or choose another with --mqtt-port PORT
"""

from __future__ import annotations

import socket

from broker.contract.errors import ConfigurationError, PortTakenError

PRIVILEGED = 1024
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of this machine that only it can reach."""


def check_free(host: str, port: int, *, option: str) -> None:
    """Bind ``port`` for a moment: PortTakenError names the port and ``option``, as does a port for root."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do it: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise ConfigurationError(
                f"port {port} needs root: choose one above {PRIVILEGED} with {option} PORT"
            ) from error
        except OSError as error:
            raise PortTakenError(port, option) from error
