"""Predicts the genres of audio files, and exports models to single files."""
