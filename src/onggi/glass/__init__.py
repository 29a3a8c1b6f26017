"""Storey 3: reads plans, traces and /proc; changes nothing."""
