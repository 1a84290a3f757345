"""The leakage study: how much a leaking split inflates accuracy."""
