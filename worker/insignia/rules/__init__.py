"""Rules compiled from the criteria, and their evaluation for one officer."""
