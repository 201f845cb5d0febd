"""Batches for models: as large as the memory allows."""
