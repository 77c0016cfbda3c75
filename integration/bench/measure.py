#!/usr/bin/env python3
"""Runs a command without its output: measure.py COMMAND...

Prints its status, its seconds, its seconds of processor time and its peak in KiB.
"""
import os
import subprocess
import sys
import time

begin = time.monotonic()
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
cpu = usage.ru_utime + usage.ru_stime
print(os.waitstatus_to_exitcode(status), f"{time.monotonic() - begin:.3f} {cpu:.3f}", usage.ru_maxrss)
