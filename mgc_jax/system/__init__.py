"""What every command needs and what knows nothing of music.

Errors, files, locks, terminals, JAX.
"""
