"""Retained topics → MMS server; a SCADA operator's control → an MQTT command to one meter.

The data path is the rooms: ``mqtt`` receives what meters and bridge publish and finds its way to the
``gateway``; ``datamodel`` turns a meter's state into data attributes; ``ied`` serves one IED in generations,
each a server in ``libiec61850``, built from the CID; ``control`` carries select and operate to the meter and
the answer back; ``access`` decides which clients may connect and what they may do. ``run`` wires it all.
"""
