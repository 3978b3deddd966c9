"""Recipes: their sections, their TOML files, and the recipes that ship. Nothing here loads torch."""
