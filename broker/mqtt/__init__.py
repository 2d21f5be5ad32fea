"""MQTT: codec, client, receiver, backoff and identities."""
