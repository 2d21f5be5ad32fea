"""The headers of a reverse proxy: the client of a request, TLS or not, our name.

Only headers of configured proxies are used, and of each header only the value that the last of them has set:
X-Forwarded-For, -Proto, -Host, -Port. The prefix of the path is a setting, not a header.

>>> from ipaddress import ip_network
>>> seen = Proxies([ip_network("127.0.0.1/32")]).seen
>>> scope = {"client": ("127.0.0.1", 1), "scheme": "http", "headers": [(b"x-forwarded-for", b"192.0.2.7")]}
>>> seen(scope)["client"]
('192.0.2.7', 0)
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Scope

from web.serving.addresses import Network, address, is_of

PROXIED = "meter61850.proxied"
"""In the scope of a request that came through a proxy that we believe."""
_USUAL = {"http": "80", "https": "443"}


class Proxies:
    """The proxies of these networks."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def seen(self, scope: Scope) -> Scope:
        """``scope`` as the browser meant it, if a proxy of ours has sent it; else as it is."""
        peer = scope["client"][0] if scope.get("client") else ""
        if not self._networks or not is_of(peer, self._networks):
            return scope
        told = {name: value.decode("latin-1") for name, value in scope["headers"]}
        scheme = _last(told, b"x-forwarded-proto").lower()
        scheme = scheme if scheme in _USUAL else scope["scheme"]
        host = _host(told, scheme)
        return {
            **scope,
            PROXIED: True,
            "scheme": scheme,
            "client": (self._client(told, peer), 0),
            "headers": [(name, host if name == b"host" else value) for name, value in scope["headers"]],
        }

    def _client(self, told: dict[bytes, str], peer: str) -> str:
        """The last address that is not one of our proxies; addresses before it may be invented."""
        found = peer
        for one in reversed(told.get(b"x-forwarded-for", "").split(",")):
            known = address(one)
            if known is None:
                break
            found = str(known)
            if not is_of(found, self._networks):
                break
        return found


def _last(told: dict[bytes, str], name: bytes) -> str:
    return told.get(name, "").rpartition(",")[2].strip()


def _host(told: dict[bytes, str], scheme: str) -> bytes:
    """Host and port as the browser has them in its address line."""
    host = _last(told, b"x-forwarded-host") or told.get(b"host", "")
    port = _last(told, b"x-forwarded-port")
    has_port = host.rpartition("]")[2].count(":") > 0
    if port.isdecimal() and not has_port and port != _USUAL[scheme]:
        host = f"{host}:{port}"
    return host.encode("latin-1")
