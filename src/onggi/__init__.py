"""Onggi: a container engine, Docker-compatible outside, glass inside."""
