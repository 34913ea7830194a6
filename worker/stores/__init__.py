"""Implementations of the store's contracts."""
