"""Associations of observations of standard stars: from the headers of files."""
