"""Logs, statistics and Prometheus metrics."""
