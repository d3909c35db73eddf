"""The project's measurements: each file is one command."""
