"""Studies that need many runs.

Sweeps, cross-validation, the leakage study, and the shipped models.
"""
