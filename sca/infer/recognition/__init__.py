"""Speech recognition of a live stream: words that are committed while the speaker is still speaking."""
