"""Optimizers: torch's own, Muon, and their state as named tensors."""
