"""Readers of two-speaker corpora; each yields `Conversation`s."""
