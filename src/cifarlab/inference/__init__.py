"""A trained model, applied: its file, its fast form, and pictures of any size."""
