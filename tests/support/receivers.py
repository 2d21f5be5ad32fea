"""Real receivers of notifications: an SMTP server (aiosmtpd) and an HTTP server.

>>> with mail_server() as mails, hook_server() as hooks:  # doctest: +SKIP
...     Notifier(…, [parse(mails.url), parse(hooks.url)], …).look(now=now)
"""

from __future__ import annotations

import email
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.brokers import free_port


@dataclass
class Mails:
    """What came; ``refuse`` makes the server refuse."""

    url: str
    taken: list[EmailMessage] = field(default_factory=list)
    receivers: list[str] = field(default_factory=list)
    refuse: bool = False

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """One e-mail."""
        if self.refuse:
            return "451 try again later"
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        self.taken.append(message)
        self.receivers += envelope.rcpt_tos
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[Mails]:
    """An SMTP server on this machine; its URL names one receiver."""
    port = free_port()
    mails = Mails(f"smtp://127.0.0.1:{port}/?from=meters@example.org&to=anna@example.org")
    controller = Controller(mails, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mails
    finally:
        controller.stop()


@dataclass
class Hooks:
    """What came; ``status`` is what the server answers."""

    url: str = ""
    taken: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200

    def refused(self) -> bool:
        """Whether the answer is an error."""
        return self.status >= 300


@contextmanager
def hook_server() -> Iterator[Hooks]:
    """An HTTP server on this machine that takes JSON by POST."""
    hooks = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not hooks.refused():
                hooks.taken.append(body)
            self.send_response(hooks.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hooks.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hooks
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
