"""From tracks to records: sources, splits, and the TFDS builder."""
