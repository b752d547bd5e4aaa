"""The kinds of metrics that can lie in a store, and where one notes that it does."""

# The kinds that only add up, which a removal subtracts: their cells, without bounds and uses.
ADDITIVE = {"counter": 1, "summary": 2, "histogram": 1}
KINDS = (*ADDITIVE, "gauge", "stateset", "info")

GAUGES = ("gauge", "stateset")

# Where a metric notes its family, once it is in a store.
FAMILY = "_shared_family"
