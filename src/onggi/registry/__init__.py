"""Storey 1: the client of image registries (OCI distribution 1.1, Docker registry v2)."""
