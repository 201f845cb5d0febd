"""The threads of a session: capture, policy, engine, voice and listeners."""
