"""Catalogue: features with their statistics, lineage, pages, and SQL views over the lake and the registry."""
