"""The background of SOSS exposures: templates, wings of the star, and their fit."""
