"""Reports and dataset cards."""
