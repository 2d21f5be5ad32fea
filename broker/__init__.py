"""The contract: MQTT topics, message models and units, and how the broker is started.

This package is the leaf of the import graph. It imports nothing of ours; everything that
speaks MQTT in meter61850 imports it.
"""
