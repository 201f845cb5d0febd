"""What is known of files without reading them again."""
