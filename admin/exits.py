"""Exit codes of every command, and which error leads to which.

>>> exit_code(UnavailableError("no broker"))
<ExitCode.UNAVAILABLE: 4>
"""

from __future__ import annotations

from enum import IntEnum

from broker.contract.errors import ConfigurationError, Meter61850Error, UnavailableError


class ExitCode(IntEnum):
    """What a script can rely on."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    REFUSED = 5
    NO_ANSWER = 6
    BROKEN = 7
    INTERRUPTED = 130


# fmt: off
MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILURE: "failed, or a check found something",
    ExitCode.USAGE: "wrong usage, or an invalid setting",
    ExitCode.NOT_FOUND: "no such meter, file, object or reading",
    ExitCode.UNAVAILABLE: "broker, database or MMS server does not answer; port taken; part not installed",
    ExitCode.REFUSED: "refused, or ended negatively; nothing was switched",
    ExitCode.NO_ANSWER: "no answer in time; a command may have run or not",
    ExitCode.BROKEN: "the audit was changed",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}
# fmt: on


class NotFoundError(Meter61850Error, LookupError):
    """The named object does not exist; the message names the command that lists all."""


class RefusedError(Meter61850Error, PermissionError):
    """A meter, a server or this program refused; the message has the reason."""


class NoAnswerError(Meter61850Error, TimeoutError):
    """Whether a command was obeyed is not known."""


class BrokenError(Meter61850Error):
    """The audit is not as it was written; the message names the first bad row."""


def exit_code(error: BaseException) -> ExitCode:
    """The exit code for ``error``: the first row of the table that it is an instance of."""
    table: tuple[tuple[type[BaseException], ExitCode], ...] = (
        (ConfigurationError, ExitCode.USAGE),
        (LookupError, ExitCode.NOT_FOUND),
        (UnavailableError, ExitCode.UNAVAILABLE),
        (PermissionError, ExitCode.REFUSED),
        (TimeoutError, ExitCode.NO_ANSWER),
        (BrokenError, ExitCode.BROKEN),
        (KeyboardInterrupt, ExitCode.INTERRUPTED),
    )
    return next((code for kind, code in table if isinstance(error, kind)), ExitCode.FAILURE)


def root_cause(error: BaseException) -> BaseException:
    """The first error of ours in a group of errors (a TaskGroup raises groups), else ``error`` itself."""
    if isinstance(error, BaseExceptionGroup):
        causes = [root_cause(inner) for inner in error.exceptions]
        return next((cause for cause in causes if isinstance(cause, Meter61850Error)), causes[0])
    return error
