"""Runs side by side, and what may be concluded from their folders alone."""
