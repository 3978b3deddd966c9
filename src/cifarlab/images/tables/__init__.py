"""Data sets whose pictures lie inside a file: parquet and array formats."""
