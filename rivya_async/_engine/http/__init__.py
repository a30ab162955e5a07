"""HTTP requests: transport, executor, limiter, timeouts."""
