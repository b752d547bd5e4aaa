"""Another instrumentation's numbers in a registry, as Collectors.

listener.py       sockets: datagrams and connections, one thread
lines.py          lines of a stream, and numbers in them
series.py         what was received: series, their limit, their end
values.py         counters, gauges, histograms, summaries, sets
names.py          names and labels that Prometheus takes
mapping.py        statsd_exporter's rules, and which one is meant
mapping_file.py   those rules in YAML
receiver.py       what the two protocols have in common
statsd.py         StatsD, with the tags of DogStatsD and others
graphite.py       Graphite's plaintext protocol, with tags
opentelemetry.py  the metrics of the SDK in the same process
opentelemetry_families.py  what these are in Prometheus: names, labels, types
native.py         their exponential histograms
"""
