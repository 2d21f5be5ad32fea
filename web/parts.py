"""What a request needs, made once in ``run`` and handed to every route through the application's state."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from web.accounts import Accounts
from web.archive import Archive
from web.commands import Commands
from web.hub import Hub
from web.live import Live
from web.sending import Sender
from web.sessions import Limiter, Sessions
from web.settings import WebSettings


@dataclass(frozen=True)
class Parts:
    """The wiring."""

    settings: WebSettings
    accounts: Accounts
    sessions: Sessions
    limiter: Limiter
    """Of one account from one address."""
    crowd_limiter: Limiter
    """Of one address."""
    order_limiter: Limiter
    """Of one account's relay commands."""
    hub: Hub
    live: Live
    sender: Sender
    commands: Commands
    archive: Archive


def parts_of(request: Request) -> Parts:
    """The parts of the application that ``request`` has reached."""
    parts: Parts = request.app.state.parts
    return parts
