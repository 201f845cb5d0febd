"""The entries of a ledger, read when they are needed."""
