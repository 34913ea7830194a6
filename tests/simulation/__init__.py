"""A deterministic simulation of the service: the real parts over simulated time, disk and network, from a seed."""
