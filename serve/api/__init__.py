"""Inference over HTTP, on Ray Serve."""
