"""Every performance claim, as a ratio against a peer in the same run on the same data."""
