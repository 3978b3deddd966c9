"""One module per operation: forward, and both gradients."""
