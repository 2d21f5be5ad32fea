"""The Debian packages: meter61850-meter and meter61850-server (docs/install.md)."""
