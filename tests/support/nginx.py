"""nginx as a reverse proxy, with the configuration that docs/web.md shows.

>>> with proxied(folder, web_port=8061, location="/meters/") as port:  # doctest: +SKIP
...     httpx.get(f"https://127.0.0.1:{port}/meters/", verify=False)
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.brokers import free_port
from tests.support.certificates import Authority
from tests.support.chain import until
from tests.support.project import ROOT

NAME = "meters.example"
_BLOCK = re.compile(r"```nginx\n(.*?)```", re.DOTALL)


def documented() -> str:
    """The only nginx block of docs/web.md."""
    [block] = _BLOCK.findall((ROOT / "docs" / "web.md").read_text())
    return str(block)


def replaced(text: str, old: str, new: str) -> str:
    """AssertionError when the documentation does not have what a test replaces."""
    assert text.count(old) == 1, f"docs/web.md has {old!r} {text.count(old)} times"
    return text.replace(old, new)


@contextmanager
def proxied(
    folder: Path,
    *,
    web_port: int,
    location: str = "/meters/",
    cut: bool = False,
    without: tuple[str, ...] = (),
) -> Iterator[int]:
    """The documented server in front of ``web_port``; its port.

    ``cut``: the path is cut off. ``without`` are lines that begin so and are left out.
    """
    port = free_port()
    issued = Authority(folder / "ca").issue(NAME)
    server = replaced(documented(), "listen 8443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    server = replaced(server, "/etc/ssl/meters.example.pem", str(issued.cert))
    server = replaced(server, "/etc/ssl/meters.example.key", str(issued.key))
    server = replaced(server, "location /meters/", f"location {location}")
    server = replaced(server, "127.0.0.1:8061;", f"127.0.0.1:{web_port}{'/' if cut else ''};")
    lines = [line for line in server.splitlines() if not line.strip().startswith(without or ("\n",))]
    with _running(folder, "\n".join(lines), port):
        yield port


@contextmanager
def _running(folder: Path, server: str, port: int) -> Iterator[None]:
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert binary, "nginx is not installed: make servers"
    user = "user root;" if os.geteuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/nginx-{kind};" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(
        f"{user} daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{server} }}\n"
    )
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen([binary, "-p", str(folder), "-c", str(config)], stderr=log)
    try:
        until(lambda: _listens(port), why=f"nginx listens; {folder / 'nginx.log'} says why not")
        yield
    finally:
        process.terminate()
        process.wait(60)


def _listens(port: int) -> bool:
    with closing(socket.socket()) as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
