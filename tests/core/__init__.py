"""Tests of the pure core: tables and properties, without an event loop, a clock or a network."""
