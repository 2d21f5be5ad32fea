"""Retained topics → MMS server; a SCADA operator's control → an MQTT command to one meter.

The data path, one noun per file: ``run`` subscribes, ``fleet`` knows each meter's state,
``values`` turns a state into data attributes, ``ied`` serves one IED in generations, ``server``
is one generation on libiec61850, ``control`` carries select and operate to the meter and back.
"""
