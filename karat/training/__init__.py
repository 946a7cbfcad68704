"""Training: fit, evaluation, bootstrap and significance, baselines and reference models, importance, plots."""
