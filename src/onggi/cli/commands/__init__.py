"""Storey 3: one file per verb of the command line."""
