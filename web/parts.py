"""The parts that requests use, made once in ``run``; every route has them in the application's state."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from web.archive import Archive
from web.auth.accounts import Accounts
from web.auth.guesses import Guesses
from web.auth.sessions import Limiter, Sessions
from web.commands import Commands
from web.feeders import Feeders
from web.live.hub import Hub
from web.live.state import Live
from web.sending import Sender
from web.serving.budgets import Budgets
from web.settings import WebSettings


@dataclass(frozen=True)
class Parts:
    """The wiring."""

    settings: WebSettings
    accounts: Accounts
    sessions: Sessions
    limiter: Limiter
    """Of one account from one network (`web.serving.addresses`)."""
    crowd_limiter: Limiter
    """Of one network."""
    guesses: Guesses
    """Passwords that wait to be checked."""
    order_limiter: Limiter
    """Of one account's relay commands."""
    hub: Hub
    live: Live
    sender: Sender
    commands: Commands
    archive: Archive
    feeders: Feeders
    budgets: Budgets


def root_of(request: Request) -> str:
    """The path below which browsers reach us through a reverse proxy, such as ``/meters``; mostly empty."""
    return parts_of(request).settings.root_path


def parts_of(request: Request) -> Parts:
    """The parts of the application that ``request`` has reached."""
    parts: Parts = request.app.state.parts
    return parts
