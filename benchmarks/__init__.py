"""What a request, a label set and an import cost: `python -m benchmarks`, or `make bench`."""
