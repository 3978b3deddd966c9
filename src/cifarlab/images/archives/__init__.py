"""The official CIFAR archives: downloaded, verified, and read without executing anything in them."""
