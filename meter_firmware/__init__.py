"""What runs at the meter: sensor, relay, outbox and MQTT client; and the simulator of many meters.

A reading's way: ``sensor`` → ``sampler`` → ``outbox`` → ``link`` → broker. A command's way:
broker → ``link`` → ``switch`` → ``relay``.
"""
