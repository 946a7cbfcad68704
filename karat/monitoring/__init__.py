"""Whether what comes in still looks like what was learned from."""

from karat.monitoring.drift import Drift, chi_square, kolmogorov_smirnov, population_stability

__all__ = ["Drift", "chi_square", "kolmogorov_smirnov", "population_stability"]
