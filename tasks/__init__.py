"""WHICH steps are there? Prefect tasks, a few lines each."""
