"""Reads what an uploaded file says about itself, and remembers it."""
