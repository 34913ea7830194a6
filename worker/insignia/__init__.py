"""The rules for royal decorations. A leaf: knows no queue and no socket."""
