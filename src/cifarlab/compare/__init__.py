"""Runs side by side: numbers, curves, and what may be concluded from them. Reads run folders only."""
