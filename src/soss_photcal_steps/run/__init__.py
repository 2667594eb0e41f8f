"""Many observations on many processors: ``soss-photcal run``."""
