"""Templates: what ``karat new`` begins a project, a feature table or a model with."""
