"""Streamed chat answers."""
