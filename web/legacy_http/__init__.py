"""The HTTP interface of the thesis."""
