"""Builds the models that are shipped with the package."""
