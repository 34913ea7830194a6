"""The HTTP API, its UNIX socket for commands, and the dashboard."""
