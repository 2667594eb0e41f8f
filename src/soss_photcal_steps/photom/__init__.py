"""Photom reference files: building, checking, and certifying them."""
