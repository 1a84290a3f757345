"""Predictions, metrics, calibration, reports and plots of a trained model."""
