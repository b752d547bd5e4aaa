"""The formats of an exposition, each written from the same rows."""
