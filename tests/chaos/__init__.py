"""Chaos: the real service, with the JavaScript server and clients, under a mix of faults drawn from a seed."""
