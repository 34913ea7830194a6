"""Writing results and reading them again."""
