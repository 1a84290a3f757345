"""Trains several seeds of several settings and compares them."""
