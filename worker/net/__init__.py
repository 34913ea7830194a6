"""Network helpers that the HTTP API and the hub share."""
