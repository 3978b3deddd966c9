"""Charts: description.py says what one shows, svg.py draws it on a page and png.py into a file."""
