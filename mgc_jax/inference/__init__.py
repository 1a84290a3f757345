"""Predictions for audio files, and models exported as one file."""
