"""Composition: builds the service from its settings and runs it."""
