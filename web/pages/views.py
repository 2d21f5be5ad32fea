"""HTML from templates: the common parts of pages, and the format of values.

>>> shown(21.349, 1), shown(None, 1)
('21.3', '–')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from broker.contract.messages import format_ts, utc_now
from broker.contract.quantities import QUANTITIES, Quantity
from broker.version import VERSION
from web.auth.accounts import Role
from web.auth.guard import Caller
from web.live.summary import STATES
from web.pages.assets import Assets
from web.parts import parts_of

# fmt: off
PAGES = (
    ("/", "Meters"), ("/commands", "Commands"), ("/scl", "SCL"), ("/dead-letters", "Dead letters"),
    ("/health", "Health"), ("/docs", "API"),
)
# fmt: on
SHOWN = dict(sorted(QUANTITIES.items(), key=lambda item: item[0] != "power"))
"""The table of quantities, power first; scripts take unit and decimals from the page."""
OTHERWISE = {"voltage": "voltage_l1", "current": "current_l1", "energy": "energy_import"}
"""What stands in the table of meters where one has no such quantity: of a three-phase meter the first phase,
of a two-way one what was consumed."""
RELAY_WORDS = {"closed": "on", "open": "switched off", None: "unknown"}
"""A closed relay gives the house power."""


def shown(value: float | None, decimals: int) -> str:
    """A number for people; a dash for none."""
    return "–" if value is None else f"{value:,.{decimals}f}".replace(",", "\u202f")


def shown_as(meter: Mapping[str, Any], name: str) -> Quantity:
    """The quantity of a meter, as in the table of meters, that is shown as ``name``.

    >>> shown_as({"measures": ("power", "voltage_l1")}, "voltage").name
    'voltage_l1'
    """
    other = OTHERWISE.get(name, name)
    return QUANTITIES[other if other in meter["measures"] and name not in meter["measures"] else name]


def others(numbers: dict[str, float | str] | None) -> str:
    """Numbers under names that only a newer meter knows; a dash for none."""
    return ", ".join(f"{name} {value}" for name, value in (numbers or {}).items()) or "–"


def plain_time(ts: str | None) -> str:
    """A time of the contract without a script: to the second, in UTC."""
    return "–" if ts is None else f"{ts[:10]} {ts[11:19]} UTC"


class Views:
    """The templates."""

    def __init__(self, *, root: str = "") -> None:
        self.assets = Assets()
        self._root = root
        self._environment = Environment(
            loader=PackageLoader("web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {
            "static": lambda name: root + self.assets.url(name),
            "root": root,
            "quantities": SHOWN,
            "shown_as": shown_as,
            "pages": PAGES,
            "states": STATES,
            "relay_words": RELAY_WORDS,
            "version": VERSION,
        }
        self._environment.filters |= {"shown": shown, "others": others, "plain_time": plain_time}
        for name in self._environment.list_templates():
            self._environment.get_template(name)  # read now: a page must not need a file descriptor

    def page(
        self, request: Request, template: str, caller: Caller | None, *, status: int = 200, **values: Any
    ) -> Response:
        """The page; never kept by a cache: it shows what is now, to one user."""
        parts = parts_of(request)
        html = self._environment.get_template(template).render(
            path=request.url.path.removeprefix(self._root),
            caller=caller,
            csrf=caller.session.csrf if caller and caller.session else "",
            may_switch=caller is not None and caller.may(Role.OPERATOR),
            may_retire=caller is not None and caller.may(Role.ADMINISTRATOR),
            broker_up=parts.live.fleet.broker_up,
            position=getattr(request.state, "position", parts.hub.position),
            now=format_ts(utc_now()),
            **values,
        )
        return HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})


def views_of(request: Request) -> Views:
    """The templates of the application."""
    views: Views = request.app.state.views
    return views
