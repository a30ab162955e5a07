"""Request rate and outage decisions: token bucket, adaptive rate, circuit breaker."""
