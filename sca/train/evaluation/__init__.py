"""Evaluation of a model while it is trained: against the row's own tokens, and in the live loop."""
