"""What every other folder stands on."""
