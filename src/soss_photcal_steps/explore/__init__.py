"""The interactive explorer of the background: ``soss-photcal explore``."""
