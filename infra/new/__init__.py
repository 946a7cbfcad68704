"""Templates from which ``karat new`` makes projects, feature tables and models."""
