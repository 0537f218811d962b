"""One module per command of `rapport`."""
