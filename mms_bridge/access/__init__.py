"""Who may connect to the MMS server, and over what."""
