"""What a worker does with one model; loaded by name in the worker, so that a job's driver stays light."""
