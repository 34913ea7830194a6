"""The plain WebSocket endpoint of the hub."""
