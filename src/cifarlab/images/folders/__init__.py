"""Folders of pictures, and lists of pictures in CSV files."""
