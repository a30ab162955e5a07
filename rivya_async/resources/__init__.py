"""The resources of the API. A resource builds operations and passes them to the engine."""
