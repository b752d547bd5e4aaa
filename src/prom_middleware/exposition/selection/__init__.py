"""What of a registry a scrape wants: parameters, selectors, regular expressions."""
