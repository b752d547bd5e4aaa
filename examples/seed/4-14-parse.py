"""Read metrics in the text format and print them in another form.

python examples/seed/4-14-parse.py
"""

from __future__ import annotations

from prom_middleware.parser import text_string_to_metric_families

for family in text_string_to_metric_families("counter_total 1.0\n"):
    for sample in family.samples:
        print("Name: {} Labels: {} Value: {}".format(*sample))
