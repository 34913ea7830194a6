"""A made-up roster for demonstrations, tests and benchmarks."""
