"""The report of a run: one page, made from its folder alone."""
