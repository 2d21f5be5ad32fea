"""pymeterbus, imported so that it leaves our logging alone: by itself it configures the root logger.

>>> meterbus.__version__
'0.8.5'
"""

from __future__ import annotations

import logging

_HOLD = logging.NullHandler()  # with a handler there, logging.basicConfig does nothing
logging.getLogger().addHandler(_HOLD)
import meterbus  # noqa: E402

logging.getLogger().removeHandler(_HOLD)

__all__ = ["meterbus"]
