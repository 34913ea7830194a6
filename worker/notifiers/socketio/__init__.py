"""The link to the org-socket server: the channel that loses nothing."""
