"""Writes through shared mappings, as databases do: for each line `path TAB offset TAB text` on standard input, maps
the file, closes the descriptor, stores, syncs and unmaps, then answers `ok` or the number of the error."""

import mmap
import os
import sys

for line in sys.stdin:
    path, offset, text = line.rstrip("\n").split("\t")
    begin, data = int(offset), text.encode("ascii")
    try:
        fd = os.open(path, os.O_RDWR)
        try:
            mapped = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        mapped[begin : begin + len(data)] = data
        mapped.flush()
        mapped.close()
        print("ok", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
