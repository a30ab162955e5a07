"""Waits and polls."""
