"""Rows to batches: collated with the kinds of their labels, packed, and in an order that resumes."""
