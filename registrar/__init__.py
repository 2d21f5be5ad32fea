"""Identities and rights: certificate authority, identity store, enrolment, the broker's access list."""
