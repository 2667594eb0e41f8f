"""From extracted spectra of a standard star to the ratio of observation to model."""
