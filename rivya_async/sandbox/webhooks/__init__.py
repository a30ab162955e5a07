"""Webhook endpoints, the delivery queue and the sender."""
