"""What Karat runs on: wiring, the command line, the local platform, deployments."""
