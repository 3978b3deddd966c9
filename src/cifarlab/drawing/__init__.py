"""Charts, image grids and pages: the one place where anything is drawn."""
