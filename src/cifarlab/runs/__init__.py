"""What was done: the run folder and the names of everything in it."""
