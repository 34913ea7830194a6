"""Contracts and pure values: jobs, outcomes, notifications, events, and what a store and a notifier promise."""
