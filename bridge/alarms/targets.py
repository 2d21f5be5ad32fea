"""Where notifications go, each named by a URL: an e-mail server, a webhook, or any service of apprise.

>>> parse("https://alarms.example/hook").words
'https://alarms.example'
>>> parse("smtp://anna:secret@mail.example:587/?from=m@example.org&to=a@example.org").words
'smtp://mail.example:587 to a@example.org'
"""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPException
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from broker.contract.errors import ConfigurationError, Meter61850Error, reason

TIMEOUT = 20.0
"""Seconds for one target."""


class NotSentError(Meter61850Error):
    """A target did not take the message; ``str()`` says why, without secrets."""


@dataclass(frozen=True)
class Notification:
    """One message to people."""

    title: str
    text: str
    alarms: Sequence[dict[str, Any]] = ()
    """The same for programs: for each alarm what the HTTP API says, and whether it was ``raised`` or
    ``cleared``."""


class Target(Protocol):
    """Takes messages; its ``words`` name it without secrets."""

    @property
    def words(self) -> str:
        """For the log."""

    def send(self, message: Notification) -> None:
        """Send it now; NotSentError."""


@dataclass(frozen=True)
class Mail:
    """An SMTP server (RFC 5321): with STARTTLS where it is offered, and always if there is a password."""

    host: str
    port: int
    sender: str
    receivers: tuple[str, ...]
    username: str = ""
    password: str = ""
    tls: bool = False
    """From the start (RFC 8314)."""

    @property
    def words(self) -> str:
        """Server and receivers."""
        return f"{'smtps' if self.tls else 'smtp'}://{self.host}:{self.port} to {', '.join(self.receivers)}"

    def send(self, message: Notification) -> None:
        """Send one e-mail to all receivers."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = message.title, self.sender, ", ".join(self.receivers)
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=self.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        mail.set_content(message.text)
        try:
            with self._server() as server:
                server.send_message(mail)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            raise NotSentError(f"{self.words}: {reason(error)}") from error

    def _server(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)
            server.ehlo()
            if self.password or server.has_extn("starttls"):
                server.starttls(context=context)
        if self.username:
            server.login(self.username, self.password)
        return server


@dataclass(frozen=True)
class Webhook:
    """A JSON object by POST; any answer below 300 means that it was taken. Redirects are not followed."""

    url: str

    @property
    def words(self) -> str:
        """Scheme and host alone: the path of a webhook is often its secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    def send(self, message: Notification) -> None:
        """POST ``title``, ``text`` and ``alarms``."""
        body = json.dumps(
            {"title": message.title, "text": message.text, "alarms": list(message.alarms)}
        ).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "meter61850"}
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with _OPENER.open(request, timeout=TIMEOUT):
                pass
        except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError
            raise NotSentError(f"{self.words}: {reason(error)}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """A POST that is sent elsewhere would become a GET: it is an error."""


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True)
class Service:
    """Any other URL: a service of apprise."""

    url: str

    @property
    def words(self) -> str:
        """The scheme alone: the rest of such a URL is mostly secret."""
        return f"{urlsplit(self.url).scheme}://…"

    def send(self, message: Notification) -> None:
        """Have apprise send it, which tells the cause of a failure to its own log only."""
        apprise = _apprise().Apprise()
        apprise.add(self.url)
        if not apprise.notify(title=message.title, body=message.text):
            raise NotSentError(f"{self.words}: apprise could not send it")


def _apprise() -> Any:
    try:
        return import_module("apprise")
    except ModuleNotFoundError:
        raise ConfigurationError(
            "notify: other URLs than smtp, smtps, http, https need apprise: pip install 'meter61850[notify]'"
        ) from None


def parse(url: str) -> Target:
    """The target that ``url`` names; ConfigurationError says what is wrong with it, without its secrets."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("notify: a URL cannot be read: is its port a number?") from None
    match parts.scheme:
        case "smtp" | "smtps":
            return _mail(parts, port)
        case "http" | "https":
            if not parts.hostname:
                raise ConfigurationError(f"notify: {parts.scheme}://HOST/PATH, a host is missing")
            return Webhook(url)
    if not parts.scheme or not _apprise().Apprise.instantiate(url, suppress_exceptions=True):
        raise ConfigurationError(
            f"notify: {parts.scheme or 'a URL without scheme'}: not smtp, smtps, http, https, nor of apprise"
        )
    return Service(url)


def _mail(parts: SplitResult, port: int | None) -> Mail:
    query = parse_qs(parts.query)
    receivers = tuple(filter(None, (one.strip() for one in ",".join(query.get("to", ())).split(","))))
    sender = query.get("from", [receivers[0] if receivers else ""])[0]
    if not parts.hostname or not receivers or "@" not in sender:
        raise ConfigurationError("notify: smtp://USER:PASSWORD@HOST:587/?from=ADDRESS&to=ADDRESS,ADDRESS")
    tls = parts.scheme == "smtps"
    return Mail(
        host=parts.hostname,
        port=port or (465 if tls else 587 if parts.username else 25),
        sender=sender,
        receivers=receivers,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=tls,
    )
