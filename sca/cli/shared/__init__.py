"""What several commands share: the console, options, progress displays."""
