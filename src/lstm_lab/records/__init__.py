"""What is kept of a run, and where: the store, what a run leaves there, what made it, checkpoints, the served model."""
