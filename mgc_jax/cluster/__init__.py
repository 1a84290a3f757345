"""Divides work into parts and computes them on many machines, with Dask."""
