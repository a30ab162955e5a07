"""The dashboard: a web page with the jobs, requests and deliveries of a sandbox, and toggles for its faults."""
