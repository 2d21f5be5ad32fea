"""pymeterbus, imported when a meter on M-Bus is read: other meters do without it.

>>> library().__version__
'0.8.5'
"""

from __future__ import annotations

import importlib
import logging
import sys
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from broker.contract.errors import ConfigurationError


@cache
def library() -> Any:
    """The package meterbus; ConfigurationError if it is not installed.

    It is kept from configuring the root logger, which it does when it is imported.
    """
    _without_decryption()
    hold = logging.NullHandler()  # with a handler there, logging.basicConfig does nothing
    logging.getLogger().addHandler(hold)
    try:
        return importlib.import_module("meterbus")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"sensor.kind = \"mbus\" needs pymeterbus ({error}): pip install 'meter61850[mbus]'"
        ) from error
    finally:
        logging.getLogger().removeHandler(hold)


def _without_decryption() -> None:
    """Let meterbus import without pycryptodome, which has no wheels for 32-bit ARM.

    It decrypts telegrams of wireless M-Bus with it, which we do not read.
    """
    if "Crypto" not in sys.modules and find_spec("Crypto") is None:
        cipher = ModuleType("Crypto.Cipher")
        cipher.AES = None  # type: ignore[attr-defined]
        sys.modules |= {"Crypto": ModuleType("Crypto"), "Crypto.Cipher": cipher}
