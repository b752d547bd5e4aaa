"""A registry's numbers, on an interval, into another system.

bridge.py       when: the thread, the interval, retries, the end
buffer.py       what could not be sent yet, and no more of it than was agreed
collecting.py   what a registry has, however broken its collectors are
health.py       what a bridge tells of itself
destination.py  what a system has to be able to do, and which one a URL means
paths.py        names in Graphite: sanitised, and no two series under one
graphite.py     the plaintext protocol over a connection that is kept
graphite_bridge.py  the bridge that users of prometheus_client know
otlp.py         OTLP over HTTP, with OpenTelemetry's own exporter
exponential.py  native histograms as OpenTelemetry has them
"""
