"""Dockerfile and compose.yaml with real containers: ``python -m tests.containers`` (``make containers``)."""
