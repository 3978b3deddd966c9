"""The version of cifarlab."""

VERSION = "0.1.0"
