"""End-of-turn detection: models, a server and a client for them, and a policy that queries them."""
