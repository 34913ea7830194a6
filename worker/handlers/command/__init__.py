"""The job kind `command`: run a program."""
