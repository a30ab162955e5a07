"""File names and media types."""
