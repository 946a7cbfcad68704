"""The command line; each command's module is loaded when the command is called."""
