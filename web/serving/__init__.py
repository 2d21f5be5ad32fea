"""Connections, certificates, proxies and the forms of answers."""
