"""One module for each family of log formats."""
