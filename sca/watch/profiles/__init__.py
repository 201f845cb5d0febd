"""Profiles: prompts, density, and how names and numbers are spoken."""
