"""What of the talker can be trained."""
