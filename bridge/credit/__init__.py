"""Credit of meters: prices, accounts, the double-entry ledger, and what follows from a balance."""
