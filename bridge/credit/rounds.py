"""Booking as a part of upkeep: whatever is wrong with it, the rest of upkeep goes on.

>>> upkeep(engine, Policy(also=rounds()), now=now)  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from bridge.credit.booking import Booker
from bridge.credit.settings import CreditSettings
from broker.contract.errors import ConfigurationError

log = logging.getLogger(__name__)

Step = Callable[[Connection], bool]


def rounds(settings: CreditSettings | None = None) -> Callable[[int], Step]:
    """What begins a round at a time (ms): its step is repeated until it is False."""
    told = settings or CreditSettings()
    return lambda now: _round(told, now)


def _round(settings: CreditSettings, now: int) -> Step:
    try:
        prices = settings.prices()
    except ConfigurationError as error:
        log.error("credit: nothing is booked: %s", error)
        return _nothing
    if prices is None:
        return _nothing
    booker = Booker(prices, now=now)

    def step(connection: Connection) -> bool:
        try:
            return booker.step(connection)
        except DBAPIError:
            raise
        except ConfigurationError as error:
            log.error("credit: nothing more is booked: %s", error)
        except Exception:
            log.exception("credit: nothing more is booked in this round")
        return False

    return step


def _nothing(_connection: Connection) -> bool:
    return False
