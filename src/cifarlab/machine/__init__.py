"""What a run may use of the machine: device, precision, threads, memory, and randomness by (seed, step)."""
