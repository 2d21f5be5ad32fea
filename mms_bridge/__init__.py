"""Retained topics → MMS server; a SCADA operator's control → an MQTT command to one meter.

The data path, one noun per file: ``broker.feed`` brings what the meters tell, ``mailbox`` everything else,
``hearing`` finds its way to the ``gateway``, ``fleet`` knows each meter's state, ``values`` turns a state
into data attributes, ``ied`` serves one IED in generations, ``server`` is one of them on libiec61850, made
by ``model`` from the ``cid`` as ``plan`` says. ``control`` carries select and operate to the meter and back
(``objections``, ``operation``, ``selections``, ``blocks``), ``telling`` publishes what comes of it; ``run``
wires it all.
"""
