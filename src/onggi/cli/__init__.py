"""Storey 3: the onggi command; imports only wire and errors."""
