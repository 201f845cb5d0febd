"""Verification of the files beside the tables: lists of files, columns, card, page and ledger."""
