"""Preparation and prediction on many machines, with Dask."""
