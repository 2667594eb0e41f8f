"""From an association of observations to the photom file."""
