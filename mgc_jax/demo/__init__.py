"""A web page that classifies uploaded or recorded songs."""
