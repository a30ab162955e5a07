"""Webhook records, operations and signatures as values."""
