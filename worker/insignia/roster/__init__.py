"""Reading rosters and decoration histories."""
