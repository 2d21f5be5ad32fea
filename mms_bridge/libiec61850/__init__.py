"""libiec61850: bindings, models and servers."""
