"""HTTP endpoints and middleware of the live server."""
