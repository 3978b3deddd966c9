"""The command line: a small module per command, which parses, calls one function of `cifarlab.api` and prints.

Results go to stdout and everything else to stderr, so that `cifarlab ... --json | jq` works. Commands import what loads
torch inside functions, because torch takes longer to import (1.8 s) than most commands take to run.
"""
