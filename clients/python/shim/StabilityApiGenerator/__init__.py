"""The package in which the old generator was."""
