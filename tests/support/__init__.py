"""Real parts for tests: brokers, databases, MMS clients, whole deployments."""
