"""WHEN does it run? Prefect flows, one per verb; a model is a parameter, never a new flow."""
