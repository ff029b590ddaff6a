"""The scorers, one room each; `tierlab.scoring` offers them by name."""
