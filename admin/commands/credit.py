"""``meter61850 credit``: prepaid and postpaid credit of meters."""

from __future__ import annotations

from admin.commands.credit_run import run
from admin.lazy import new_app

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="Credit of meters.")


@app.callback()
def group() -> None:
    """Keep `run` a command of its own."""


app.command()(run)
