"""Verification of stored audio: format and length, the two rates against each other, and the recorded origin."""
