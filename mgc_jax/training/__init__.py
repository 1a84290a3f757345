"""The training step, the trainer, and the run around it."""
