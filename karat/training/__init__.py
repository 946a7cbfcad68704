"""Fits and evaluates a model: split, fit, metrics, baselines, bootstrap, importance, plots."""
