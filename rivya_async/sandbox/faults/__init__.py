"""Fault injection: faults as data, their registry and their effect on responses."""
