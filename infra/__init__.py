"""ON WHAT does it stand? Wiring, the command line, the local platform."""
