"""Accounts, logins, sessions and rights."""
