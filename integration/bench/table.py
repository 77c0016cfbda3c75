#!/usr/bin/env python3
"""Makes a table of what scan.sh measured: table.py RESULTS."""
import statistics
import sys

runs = {}
for line in open(sys.argv[1]):
    *key, seconds, peak = line.split()
    runs.setdefault(tuple(key), []).append((float(seconds), int(peak)))


def median(key, which):
    return statistics.median(run[which] for run in runs[key]) if key in runs else None


print("| scan | tool | given | seconds | of ours | peak MiB |")
print("|---|---|---|---:|---:|---:|")
for warmth in ("warm", "cold"):
    for scan in ("first", "second"):
        ours = median(("branches", warmth, scan, "xdedup"), 0)
        if ours is None:
            continue
        for where in ("branches", "pool"):
            for tool in ("xdedup", "jdupes", "fclones", "rmlint", "rdfind"):
                seconds = median((where, warmth, scan, tool), 0)
                if seconds is None:
                    continue
                peak = median((where, warmth, scan, tool), 1) / 1024
                given = "the pool" if tool == "xdedup" else where
                print(f"| {warmth}, {scan} | {tool} | {given} | {seconds:.2f} | {seconds / ours:.1f} | {peak:.0f} |")
