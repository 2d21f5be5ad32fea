"""Texts of a running server: what names and describes a logical device, when its file tells it anew.

They are looked up when they change, which is seldom: to keep their handles would cost each meter some memory.

>>> tell(server, model, text)  # doctest: +SKIP
"""

from __future__ import annotations

from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.node_plan import mms_value
from scl_builder.read.retold import Text


def tell(server: int, model: int, text: Text) -> None:
    """Give an attribute its new text; a model without it, an older one, stays as it is."""
    reference = f"{text.domain}/{text.node}.{'.'.join(text.path)}"
    handle = lib.IedModel_getModelNodeByObjectReference(model, reference.encode())
    if not handle:
        return
    value = mms_value(text.attribute, text.value)
    lib.IedServer_lockDataModel(server)
    try:
        lib.IedServer_updateAttributeValue(server, handle, value)
    finally:
        lib.IedServer_unlockDataModel(server)
        lib.MmsValue_delete(value)
