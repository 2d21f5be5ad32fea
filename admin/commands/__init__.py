"""One module for each command: a typer ``app`` with its options, help and examples."""
