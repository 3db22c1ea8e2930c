"""Read metrics with Prometheus' own parser, and write their samples as JSON.

usage: metrics.py < TEXT
Fails if the text is not what Prometheus would read, or breaks its naming conventions.
"""
import json
import re
import sys

from prometheus_client.parser import text_string_to_metric_families

text = sys.stdin.read()
seen = set()
samples = []
for family in text_string_to_metric_families(text):
    if family.name in seen:
        sys.exit(f"family {family.name} is there twice")
    seen.add(family.name)
    if not family.documentation or family.type not in ("counter", "gauge"):
        sys.exit(f"family {family.name} has no help or no type")
    if not re.fullmatch(r"pg_notifyd(_[a-z0-9]+)+", family.name):
        sys.exit(f"family {family.name} has a bad name")
    for sample in family.samples:
        if (family.type == "counter") != sample.name.endswith("_total"):
            sys.exit(f"{sample.name} is a {family.type}")
        samples.append([sample.name, sample.labels, sample.value])
keys = [(name, json.dumps(labels, sort_keys=True)) for name, labels, value in samples]
if len(keys) != len(set(keys)):
    sys.exit("a sample is there twice")
# The parser of text format 0.0.4 ignores what it does not understand at the end of a line.
for line in text.splitlines():
    if not re.fullmatch(r'# (HELP|TYPE) .+|[a-z0-9_]+(\{.*\})? \S+', line):
        sys.exit(f"bad line: {line}")
json.dump(samples, sys.stdout)
