"""The page: to be."""
