"""The turn server: model pool, batching, HTTP endpoints."""
