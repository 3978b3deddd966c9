"""What torch does slowly on a CPU, in C++ that is compiled on the machine where it runs."""
