"""Search for videos and download them."""
