"""Training sets: a spine, its features by point-in-time join and its labels, pinned to versions and reproducible."""
