"""What is done, what is left, and where it runs."""
