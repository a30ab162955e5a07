"""The Chat API: sessions, completions and streams."""
