"""HTML from templates: the common parts of pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from broker.contract.messages import format_ts, utc_now
from broker.contract.quantities import INSTEAD, QUANTITIES, Quantity
from broker.version import VERSION
from web.auth.accounts import Role
from web.auth.guard import Caller
from web.live.summary import STATES
from web.pages.assets import Assets
from web.pages.curves import curves_of, limits_of
from web.pages.words import FOR_SCRIPTS, RELAY_WORDS, of_house, order_words, shown, unit_shown
from web.parts import parts_of

# fmt: off
PAGES = (
    ("/", "Meters"), ("/alarms", "Alarms"), ("/commands", "Commands"), ("/blocks", "Blocks"), ("/scl", "SCL"),
    ("/supply", "Supply"), ("/dead-letters", "Dead letters"), ("/health", "Health"), ("/docs", "API"),
)
# fmt: on
FOR_ADMINISTRATORS = (("/audit", "Audit"), ("/users", "Users"), ("/settings", "Settings"))
SHOWN = dict(sorted(QUANTITIES.items(), key=lambda item: item[0] != "power"))
"""The table of quantities, power first; scripts take unit and decimals from the page."""


def shown_as(meter: Mapping[str, Any], name: str) -> Quantity:
    """The quantity of a meter, as in the table of meters, that is shown as ``name``.

    >>> shown_as({"measures": ("power", "voltage_l1")}, "voltage").name
    'voltage_l1'
    """
    other = INSTEAD.get(name, name)
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
            "instead": {name: [other, QUANTITIES[other].phase] for name, other in INSTEAD.items()},
            "states": STATES,
            "relay_words": RELAY_WORDS,
            "words": FOR_SCRIPTS,
            "curves_of": curves_of,
            "limits_of": limits_of,
            "version": VERSION,
        }
        self._environment.filters |= {
            "shown": shown,
            "unit_shown": unit_shown,
            "of_house": of_house,
            "order_words": order_words,
            "others": others,
            "plain_time": plain_time,
        }
        for name in self._environment.list_templates():
            self._environment.get_template(name)  # read now: a page must not need a file descriptor

    def page(
        self, request: Request, template: str, caller: Caller | None, *, status: int = 200, **values: Any
    ) -> Response:
        """The page; never kept by a cache: it shows what is now, to one user."""
        parts = parts_of(request)
        administers = caller is not None and caller.may(Role.ADMINISTRATOR)
        html = self._environment.get_template(template).render(
            path=request.url.path.removeprefix(self._root),
            caller=caller,
            pages=PAGES + (FOR_ADMINISTRATORS if administers else ()),
            csrf=caller.session.csrf if caller and caller.session else "",
            may_switch=caller is not None and caller.may(Role.OPERATOR),
            may_administer=administers,
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
