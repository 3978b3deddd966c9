"""The fast forms of networks: the same weights, names and results with fewer passes over memory."""
