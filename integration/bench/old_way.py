"""How the script that this tool replaces went about it, for comparison.

For each duplicate, in this order: commit PENDING, delete the duplicate through the pool, commit DELETED, make the
directories on the master's disk, hard-link the master there, commit LINKED. One SQLite transaction a state, two lines
of log a step, nothing in between that makes the link itself durable. One thing is done better than it was: the disk
of the master is asked of mergerfs.

usage: old_way.py LIST DATABASE PRIMARY POOL LOG
"""

import json
import logging
import os
import sqlite3
import sys


def set_state(database, path, state):
    database.execute("INSERT OR REPLACE INTO files (path, state) VALUES (?, ?)", (path, state))
    database.commit()


def replace(database, master, master_disk, duplicate, pool):
    logging.info("duplicate: %s", duplicate)
    set_state(database, duplicate, "PENDING")
    logging.info("deleting: %s", duplicate)
    os.remove(duplicate)
    set_state(database, duplicate, "DELETED")

    target = os.path.join(master_disk, os.path.relpath(duplicate, pool))
    logging.info("directory: %s", os.path.dirname(target))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    logging.info("link: %s", target)
    os.link(master, target)
    set_state(database, duplicate, "LINKED")
    logging.info("linked: %s", duplicate)


def main(manifest, database_path, primary, pool, log):
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s [%(levelname)s] %(message)s")
    with open(manifest) as file:
        groups = json.load(file)["matchSets"]
    database = sqlite3.connect(database_path)
    database.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, state TEXT NOT NULL)")
    database.commit()
    for group in groups:
        paths = [entry["filePath"] for entry in group["fileList"]]
        master = next((path for path in paths if path.startswith(primary)), None)
        if master is None:
            continue
        on_disk = os.getxattr(master, "user.mergerfs.fullpath").decode()
        disk = os.getxattr(master, "user.mergerfs.basepath").decode()
        for path in paths:
            if path != master:
                replace(database, on_disk, disk, path, pool)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
