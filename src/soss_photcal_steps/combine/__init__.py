"""From many ratios to one response correction per order."""
