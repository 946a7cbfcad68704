"""The local platform: Ray, MLflow and Prefect under one supervisor."""
