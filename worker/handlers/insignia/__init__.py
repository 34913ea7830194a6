"""The job kind that evaluates a roster against the insignia rules."""
