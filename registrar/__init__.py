"""Who may do what: certificate authority, register of identities, enrolment, the broker's rights."""
