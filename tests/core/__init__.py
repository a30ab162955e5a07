"""The pure floor, by tables and properties: no event loop, no clock, no network."""
