"""The web's application without its process: requests straight into it, over a store that tests fill.

>>> with inside(tmp_path) as web:  # doctest: +SKIP
...     await web.client.get("/api/v1/meters")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.stores import Kept, keeping
from web.app import make_app
from web.auth.accounts import Role
from web.parts import Parts
from web.run import make_parts
from web.settings import WebSettings


@dataclass
class Inside:
    """The application, what it is made of, and a client of the operator ``anna``."""

    kept: Kept
    parts: Parts
    client: httpx.AsyncClient


@contextmanager
def inside(folder: Path, *, url: str | None = None) -> Iterator[Inside]:
    """An application with an empty store, or the one at ``url``, and without a broker."""
    with keeping(url or f"sqlite:///{folder}/inside.sqlite") as kept:
        parts = make_parts(WebSettings(database_url=kept.url, users=folder / "web-users.json"))
        token = parts.accounts.add_token("anna", Role.OPERATOR)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=make_app(parts)),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
        )
        yield Inside(kept, parts, client)
        parts.archive.close()
