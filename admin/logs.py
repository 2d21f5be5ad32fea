"""Logging for every process, set up here and nowhere else: one line of key=value on stderr.

>>> record = logging.makeLogRecord({"name": "bridge.run", "levelname": "INFO", "msg": "stored", "batch": 7})
>>> KeyValueFormatter().format(record).split(" ", 1)[1]
'level=info logger=bridge.run msg=stored batch=7'
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

from admin.plain import escaped
from broker.contract.errors import reason
from broker.contract.messages import format_ts

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET_KEY = re.compile(r"password|passwd|secret|token|credential", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"(?P<before>://[^/\s:@]*:)[^/\s@]+(?=@)"
    r"|(?P<key>\b\w*(?:password|passwd|secret|token)\w*['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,;)]+)",
    re.IGNORECASE,
)
HIDDEN = "***"

QUIET = ("amqtt", "transitions", "alembic", "asyncio")
"""Libraries that log each connection at level info."""


def redacted(text: str) -> str:
    """``text`` with the password of each URL and the value of each password=… hidden."""
    return _SECRET_VALUE.sub(lambda found: (found["before"] or found["key"]) + HIDDEN, text)


class KeyValueFormatter(logging.Formatter):
    """ts, level, logger, msg, then ``extra``; secrets hidden, what is not printable escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        pairs: dict[str, object] = {
            "ts": format_ts(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": redacted(_message(record)),
        }
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        pairs |= {
            key: HIDDEN if _SECRET_KEY.search(key) else redacted(str(value)) for key, value in extra.items()
        }
        if record.exc_info:
            pairs["error"] = redacted(self.formatException(record.exc_info))
        return " ".join(f"{key}={_quoted(str(value))}" for key, value in pairs.items())


def _message(record: logging.LogRecord) -> str:
    """The message; an error in it that has no text of its own is put into words."""
    if isinstance(record.args, tuple):
        record.args = tuple(_worded(one) for one in record.args)
    return record.getMessage()


def _worded(value: object) -> object:
    return reason(value) if isinstance(value, BaseException) and not str(value) else value


def _quoted(value: str) -> str:
    """``value`` as it is when it is one printable word, else as a JSON string."""
    if value.isprintable() and re.fullmatch(r"[^\s\"=]+", value):
        return value
    return escaped(json.dumps(value, ensure_ascii=False))


def set_up(level: str) -> None:
    """Log to stderr from ``level`` on; libraries of :data:`QUIET` only their warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level.upper() != "DEBUG":
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
