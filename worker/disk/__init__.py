"""What the stores and the hub's inbox share to write to disk: file locks, private files, the group-commit thread."""
