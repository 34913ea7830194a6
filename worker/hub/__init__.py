"""The built-in org-socket server: one core, two doors."""
