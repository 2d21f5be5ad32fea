"""Guard before libiec61850: what a client may ask, judged before the library reads it. No I/O here."""
