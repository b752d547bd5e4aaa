"""From a registry to families: its collectors, how each is asked, and what is left out."""
