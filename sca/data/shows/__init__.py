"""Shows of one speaker and an audience: timelines and recordings become a data set for chat and talker training."""
