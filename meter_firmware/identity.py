"""The meter's identity: a UUID (RFC 9562, version 4) that is made once and kept.

A damaged file is an error, never a reason for a new identity: the new one would be a second meter
with the same serial number, and the first one's history would end.

>>> with tempfile.TemporaryDirectory() as folder:
...     kept_meter_id(Path(folder)) == kept_meter_id(Path(folder))
True
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from broker import durable
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.topics import checked_meter_id

FILE_NAME = "meter_id"


def kept_meter_id(data_dir: Path) -> str:
    """The meter_id of ``data_dir``, made at the first call; ConfigurationError if it is damaged."""
    path = data_dir / FILE_NAME
    try:
        if not path.exists():
            data_dir.mkdir(parents=True, exist_ok=True)
            durable.replace(path, f"{uuid4()}\n".encode(), mode=durable.PUBLIC)
        return checked_meter_id(path.read_text(encoding="ascii").strip())
    except (ContractError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} is damaged ({error}): write this meter's id into it"
            " (meter61850 meters list shows it by serial number)"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}: data_dir must be a folder that we may write"
        ) from error
