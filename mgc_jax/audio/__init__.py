"""Audio files: finding and decoding them, and reading their tags."""
