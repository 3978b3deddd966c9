"""A run explains itself on one page."""
