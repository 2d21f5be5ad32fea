"""The HTTP API, version 1: every route is below ``/api/v1``, and described at ``/docs``."""
