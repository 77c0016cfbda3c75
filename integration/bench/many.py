#!/usr/bin/env python3
"""Writes many small files and a list: many.py FILES POOL LIST BRANCH...

Most have a size that a hundred others have, and their own bytes; a hundredth, at most 1,000, has a copy on the next branch.
LIST claims for each copy that it has a duplicate, and as many claims that are not true as there are files to fill it.
"""
import json
import os
import sys

files, pool, list_path, *branches = sys.argv[1:]
files = int(files)
copies = min(files // 100, 1000)
sets = []
for n in range(files - copies):
    branch = n % len(branches)
    directory = os.path.join("library", str(n // 1000))
    for place in (branch, (branch + 1) % len(branches)) if n < copies else (branch,):
        # The copy has a path of its own.
        name = os.path.join(directory, f"{n:08}.bin" if place == branch else f"{n:08}.copy")
        full = os.path.join(branches[place], name)
        if n % 1000 < len(branches) * 2:
            os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as out:
            out.write(b"%08d" % n * (1 + n % 4))
        os.utime(full, (1_700_000_000, 1_700_000_000))
    names = [f"{n:08}.bin", f"{n:08}.copy"]
    paths = [{"filePath": os.path.join(pool, directory, name)} for name in names]
    sets.append({"fileSize": 8 * (1 + n % 4), "fileList": paths})
with open(list_path, "w") as out:
    json.dump({"jdupesVersion": "1.21.3", "matchSets": sets}, out)
