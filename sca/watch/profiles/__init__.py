"""Profiles: what a commentator attends to, how much is said, and how names and numbers are spoken."""
