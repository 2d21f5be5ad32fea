"""Renewal of the meter's certificate over its own connection: asked for when it is due, taken when it comes.

>>> renewal = Renewal(credentials, publish, faults)  # doctest: +SKIP
>>> await renewal.run()  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from broker.contract.enrolment import Credential
from broker.contract.errors import ContractError
from meter_firmware import clock
from meter_firmware.enrolment.credentials import Credentials
from meter_firmware.faults import Faults

RENEWAL_SECONDS = 3600.0
"""Between two requests for a certificate."""
LOOK_SECONDS = 60.0
"""Between two looks at the certificate in use."""


class Renewal:
    """The renewal on one connection; ``renewed`` is set when there is a new certificate to connect with."""

    def __init__(
        self, credentials: Credentials, publish: Callable[[bytes], Awaitable[None]], faults: Faults
    ) -> None:
        """``publish`` sends a payload on the topic ``renew``."""
        self._credentials = credentials
        self._publish = publish
        self._faults = faults
        self._asked_at = -math.inf
        self.renewed = asyncio.Event()

    async def run(self) -> None:
        """Report that a new certificate is in use; request one when it is due."""
        while True:
            try:
                await self._report()
                await self._ask_if_due()
            except OSError as error:  # the certificate in use is good for months
                self._faults.tell("certificate cannot be renewed", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def take(self, payload: bytes) -> None:
        """Keep the certificate in ``payload`` if it is ours; an invalid one is logged."""
        try:
            if self._credentials.take(Credential.model_validate_json(payload)):
                self.renewed.set()
            await self._ask_if_due()
        except (ValidationError, ContractError, OSError) as error:
            self._faults.tell("credential is of no use", error)

    async def _report(self) -> None:
        if (report := self._credentials.untold) is not None:
            await self._publish(report.payload())
            self._credentials.was_told()

    async def _ask_if_due(self) -> None:
        if doubt := self._credentials.clock_doubt(clock.now()):
            self._faults.tell("the clock seems wrong (timedatectl set-ntp on)", doubt)
        now = asyncio.get_running_loop().time()
        if now >= self._asked_at + RENEWAL_SECONDS and self._credentials.due(clock.now()):
            self._asked_at = now
            await self._publish(self._credentials.ask().payload())
