"""Steps of one model, imported by name in the worker, so that a job's driver stays light."""
