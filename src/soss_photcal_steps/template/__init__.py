"""Background templates from exposures: masking, combination, smoothing, libraries."""
