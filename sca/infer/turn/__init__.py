"""End-of-turn detection: has the speaker finished? Models, a server for them, a client, and a policy that queries them."""
