"""The commands: their arguments and options. What a command does is imported when it runs, so that help is fast."""
