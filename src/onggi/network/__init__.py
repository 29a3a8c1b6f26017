"""Storey 1: bridges, endpoints, addresses and names of containers."""
