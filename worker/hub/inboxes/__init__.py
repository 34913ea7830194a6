"""Implementations of the inbox: SQLite for one hub, Redis for several."""
