"""Access to the MMS server: listeners, TLS front end, client rights, limits."""
