"""Commands that search for videos and download them."""
