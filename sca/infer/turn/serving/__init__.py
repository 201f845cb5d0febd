"""The turn server: model threads, batching, HTTP endpoints."""
