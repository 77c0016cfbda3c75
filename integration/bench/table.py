#!/usr/bin/env python3
"""Makes a table and a chart of what scan.sh measured: table.py RESULTS."""
import statistics
import sys

TOOLS = ("xdedup", "jdupes", "fclones", "rmlint", "rdfind")
WIDTH = 50

runs = {}
for line in open(sys.argv[1]):
    *key, seconds, cpu, peak = line.split()
    runs.setdefault(tuple(key), []).append((float(seconds), float(cpu), int(peak) / 1024))


def median(key, which):
    return statistics.median(run[which] for run in runs[key])


def blocks():
    """Each way to scan: what it is called, our key, and all keys in order."""
    for warmth in ("warm", "cold"):
        for scan in ("first", "second"):
            ours = ("branches", warmth, scan, "xdedup")
            keys = [(where, warmth, scan, tool) for where in ("branches", "pool") for tool in TOOLS]
            if ours in runs:
                yield f"{warmth}, {scan}", ours, [key for key in keys if key in runs]


def name(key):
    # Ours finds the branches itself, wherever it is pointed at.
    return f"{key[3]}, {'the pool' if key[3] == 'xdedup' else 'the ' + key[0]}"


print("| scan | tool, given | seconds (from, to) | of ours | CPU s | peak MiB |")
print("|---|---|---:|---:|---:|---:|")
for title, ours, keys in blocks():
    for key in keys:
        all_of = [run[0] for run in runs[key]]
        seconds = f"{median(key, 0):.2f} ({min(all_of):.2f}, {max(all_of):.2f})"
        ratio = median(key, 0) / median(ours, 0)
        print(f"| {title} | {name(key)} | {seconds} | {ratio:.1f} | {median(key, 1):.2f} | {median(key, 2):.0f} |")

print("\n    median seconds")
for title, ours, keys in blocks():
    longest = max(median(key, 0) for key in keys)
    print(f"    {title}")
    for key in keys:
        seconds = median(key, 0)
        bar = "#" * max(1, round(seconds / longest * WIDTH))
        print(f"      {name(key):<22} {seconds:>8.2f} {bar}")
