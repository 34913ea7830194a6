"""The job kind `http`: call a URL."""
