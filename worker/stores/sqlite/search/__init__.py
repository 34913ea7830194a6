"""Full-text search over jobs, in an index file of its own."""
