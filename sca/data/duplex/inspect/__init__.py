"""Views of rows and conversations for the terminal and the browser."""
