#!/usr/bin/env python3
"""Whether tools find the same duplicates: same.py BINARY POOL SCRATCH BRANCH...

Adds awkward files to the branches (equal heads, equal tails, one byte apart, odd names, hard links, holes, files that
change all the time), then compares what each tool finds as sets of inodes. fclones also has to take our list.
"""
import json
import os
import re
import subprocess
import sys
import threading

binary, pool, scratch = sys.argv[1:4]
branches = [os.fsencode(path) for path in sys.argv[4:]]


def write(branch, name, content):
    path = os.path.join(branches[branch % len(branches)], b"odd", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(content)
    return path


def awkward():
    for length in (1, 4095, 4096, 4097, 16 << 10, 128 << 10, (128 << 10) + 1, 1 << 20, 5_000_000):
        content = bytes((n * n >> 3) & 255 for n in range(1 << 12)) * (length // 4096 + 1)
        content = length.to_bytes(8, "big")[8 - min(8, length):] + content
        content = content[:length]
        for branch in range(3):
            write(branch, b"equal/%d" % length, content) if branch == 0 else \
                write(branch, b"copy %d/%d" % (branch, length), content)
        for at in {0, length // 2, length - 1}:
            other = bytearray(content)
            other[at] ^= 1
            write(at, b"near/%d-%d" % (length, at), other)
    for n, name in enumerate([b"new\nline", b"caf\xe9", b"x\x80", b" space ", b"-dash", b"quote\"'\\", b"\xe2\x80\xae"]):
        path = write(n, b"names/" + name, b"%d" % n * 700)
        write(n + 1, b"copies/" + name, b"%d" % n * 700)
        os.link(path, path + b".linked")
    for branch in (0, 1):
        os.truncate(write(branch, b"hole/%d" % branch, b""), 3 << 20)
    write(2, b"hole/2", bytes(3 << 20))


def unescaped(text):
    def byte(match):
        code = match.group(1)
        plain = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}
        return plain[code] if code in plain else bytes([int(code[1:], 16)])
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|[nrt\\])", byte, text.encode())


def on_branches(path):
    inside = os.path.relpath(path, os.fsencode(pool))
    places = [path] if inside.startswith(b"..") else [os.path.join(branch, inside) for branch in branches]
    return [place for place in places if os.path.lexists(place)]


def inodes(groups):
    """Groups of paths as sets of inodes; restless files aside, those of one inode too."""
    found = set()
    for paths in groups:
        paths = [path for path in paths if b"/restless/" not in path]
        stats = [os.lstat(place) for path in paths for place in on_branches(path)]
        group = frozenset((stat.st_dev, stat.st_ino) for stat in stats)
        found |= {group} if len(group) > 1 else set()
    return found


def of_report(path):
    with open(path) as report:
        return [[unescaped(file) for file in group["files"]] for group in json.load(report)["groups"]]


def of_jdupes(output):
    return [group.split(b"\0") for group in output.strip(b"\0").split(b"\0\0")]


def restless(over):
    for n in range(1 << 60):
        for at in range(6):
            write(at, b"restless/%d" % at, b"%12d %d" % (n, at) * 1000)
        if over.wait(0.002):
            return


awkward()
over = threading.Event()
writer = threading.Thread(target=restless, args=(over,))
writer.start()
try:
    ours, theirs = os.path.join(scratch, "ours.json"), os.path.join(scratch, "fclones.json")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([binary, "-q", "--no-cache", "--groups", ours, pool], check=True, **quiet)
    subprocess.run(["fclones", "group", "-f", "json", "-o", theirs, *branches], check=True, **quiet)
    listed = subprocess.run(["jdupes", "-q", "-r", "-0", *branches], check=True, stdout=subprocess.PIPE).stdout
finally:
    over.set()
    writer.join()
found = {"xdedup": inodes(of_report(ours)), "fclones": inodes(of_report(theirs)), "jdupes": inodes(of_jdupes(listed))}
print("groups found:", ", ".join(f"{tool} {len(groups)}" for tool, groups in found.items()))
same = all(groups == found["xdedup"] for groups in found.values())
for tool, groups in found.items():
    for group in [] if same else list(groups ^ found["xdedup"])[:5]:
        print(f"{tool} differs:", sorted(group))
for command in ("link", "remove"):
    with open(ours) as report:
        took = subprocess.run(["fclones", command, "--dry-run"], stdin=report, capture_output=True)
    names = sum(line.startswith((b"ln", b"rm", b"mv")) for line in took.stdout.splitlines())
    print(f"fclones {command} --dry-run of our list: status {took.returncode}, {names} commands")
    same &= took.returncode == 0 and names > 0
sys.exit(0 if same else 1)
