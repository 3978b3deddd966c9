"""What to do: the sections of a recipe, its TOML file, and the recipes that ship. Nothing here loads torch."""
