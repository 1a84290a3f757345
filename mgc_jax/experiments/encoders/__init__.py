"""Builds pretrained encoders, and converts what they have computed."""
