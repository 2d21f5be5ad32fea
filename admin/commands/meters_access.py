"""``meter61850 meters block`` and ``unblock``: shut a meter out within seconds, and let it in again."""

from __future__ import annotations

from typing import Annotated

import typer

from admin.meter_ids import meter_id_of
from admin.options import DATA_DIR, DATABASE, Database, DeploymentDir, Meter, user_name
from admin.output import note
from admin.pending import finished, opened
from registrar import blocking


def block(
    meter: Meter,
    reason: Annotated[str, typer.Option(help="Why; shown in lists and in the audit.")],
    for_good: Annotated[
        bool, typer.Option("--for-good", help="Also revoke its credential: it must enrol again to return.")
    ] = False,
    database: Database = DATABASE,
    folder: DeploymentDir = DATA_DIR,
) -> None:
    """Block a meter at once: it cannot publish, receive or connect.

    Its relay stays as it is, and its readings stay in the meter. In MMS its Beh is off, its quality invalid.

    \b
    meter61850 meters block "House 1" --reason "stolen from its cabinet"
    """
    deployment = opened(folder)
    meter_id = meter_id_of(meter, database)
    blocking.block(deployment, meter_id, reason=reason, for_good=for_good, who=user_name())
    gone = finished(deployment)
    note(f"{meter_id} is " + ("cut off" if gone else "blocked"))


def unblock(meter: Meter, database: Database = DATABASE, folder: DeploymentDir = DATA_DIR) -> None:
    """Unblock a meter; it connects again, with all readings that it has kept.

    \b
    meter61850 meters unblock "House 1"
    """
    deployment = opened(folder)
    meter_id = meter_id_of(meter, database)
    lives = blocking.unblock(deployment, meter_id, who=user_name())
    finished(deployment)
    note(
        f"{meter_id} may come back"
        + ("" if lives else "; its credential was revoked: meter61850 meter enrol")
    )
