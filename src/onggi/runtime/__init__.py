"""Storey 1: from a runtime configuration to a group of processes."""
