"""Data sets in memory: where they are found, how each format is read, what is in them. Nothing here loads torch."""
