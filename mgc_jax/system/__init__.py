"""General services without any knowledge of music.

Errors, atomic files, locks, user folders, the terminal, and JAX's settings.
"""
