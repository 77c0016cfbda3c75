#!/usr/bin/env python3
"""Writes a home server in small: corpus.py FILES MEGABYTES BRANCH...

Most files are small, most bytes are in few; a fifth of the files have a copy on another branch, two in a hundred
a hard link beside them. Equal numbers give equal trees.
"""
import os
import random
import sys

files, megabytes = int(sys.argv[1]), int(sys.argv[2])
branches = sys.argv[3:]
chance = random.Random(20)
noise = chance.randbytes(64 << 20)
mean = megabytes * 1_000_000 / files


def size():
    kind = chance.random()
    if kind < 0.90:
        return int(mean * chance.lognormvariate(-2.2, 1.1)) + 1
    if kind < 0.998:
        return int(mean * chance.uniform(1, 10))
    return int(mean * chance.uniform(50, 200))


def content(length):
    """Bytes nobody else has, in the first block already."""
    yield chance.randbytes(16)[:length]
    left = length - 16
    while left > 0:
        at = chance.randrange(len(noise) - 1)
        part = noise[at:at + left]
        yield part
        left -= len(part)


def path(branch, n, kind):
    directory = os.path.join(branches[branch], kind, str(n % 60), str(n // 60 % 20))
    os.makedirs(directory, exist_ok=True)
    return os.path.join(directory, f"file number {n:07}.bin")


def write(name, parts):
    with open(name, "wb") as out:
        out.writelines(parts)


n = 0
while n < files:
    branch = n % len(branches)
    parts = list(content(size()))
    name = path(branch, n, "library")
    write(name, parts)
    n += 1
    kind = chance.random()
    if kind < 0.2 and n < files:
        write(path((branch + 1) % len(branches), n, "incoming"), parts)
        n += 1
    elif kind < 0.22 and n < files:
        os.link(name, path(branch, n, "linked"))
        n += 1
