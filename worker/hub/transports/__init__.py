"""WebSocket connections: upgrade, frames, bounded sending."""
