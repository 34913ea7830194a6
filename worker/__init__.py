"""insignia-worker: runs long jobs from a durable queue and tells their users when they end."""

__version__ = "0.1.0"
