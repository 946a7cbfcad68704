"""Training sets: a spine, its looked-up features and labels; frozen, pinned to versions, and reproducible."""
