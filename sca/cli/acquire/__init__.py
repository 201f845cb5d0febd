"""Commands that find and download videos."""
