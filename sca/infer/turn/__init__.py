"""Has the speaker finished? Models that answer, how they are run many at a time, and the policy that asks them."""
