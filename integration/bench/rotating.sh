#!/usr/bin/env bash
# How fast everything is on four simulated rotating disks (180 MB/s, 8 ms), beside fclones. As root, on Debian.
#
#   integration/bench/rotating.sh              7,420 files, 3.6 GB, the median of 3 rounds: half an hour, 10 GB of memory
#   FILES=500 MB=200 ROUNDS=1 integration/bench/rotating.sh
#   ONLY="scan verify" integration/bench/rotating.sh     only these lines
#
# Each command meets cold disks. Those that change the pool get a fresh one. Figures are printed, not judged.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. integration/environment.sh

FILES=${FILES:-7420} MB=${MB:-3600} ROUNDS=${ROUNDS:-3} DISKS=4
ONLY=${ONLY:-}

require_root "$@"
install_packages cc:gcc mergerfs:mergerfs mkfs.ext4:e2fsprogs losetup:mount fusermount3:fuse3 python3:python3
load_kernel_modules
find_cargo
as_owner_cargo build --release --example spindle
if [ -z "${BINARY:-}" ]; then
    as_owner_cargo build --release
    BINARY=${CARGO_TARGET_DIR:-target}/release/mergerfs-xdedup
fi
BINARY=$(readlink -f "$BINARY")
SPINDLE=$(readlink -f "${CARGO_TARGET_DIR:-target}/release/examples/spindle")

scratch=$(mktemp -d "${TMPDIR:-/tmp}/xdedup-rotating.XXXXXX")
down() {
    local disk device
    mountpoint -q "$scratch/pool" && umount "$scratch/pool"
    for disk in "$scratch"/b*; do
        mountpoint -q "$disk" && umount "$disk"
    done
    losetup --list --noheadings --output NAME,BACK-FILE |
        awk -v dir="$scratch/spindle/" 'index($2, dir) == 1 { print $1 }' |
        while read -r device; do losetup --detach "$device"; done
    # A detached device lets go of its file a moment later.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        mountpoint -q "$scratch/spindle" || break
        umount "$scratch/spindle" 2>/dev/null || sleep 0.2
    done
    return 0
}
trap 'down; remove_scratch "$scratch"' EXIT
trap 'exit 130' INT TERM
if ! command -v fclones >/dev/null; then
    echo "== installing fclones" >&2
    cargo install --quiet --locked fclones --root "$scratch/peers"
    PATH=$scratch/peers/bin:$PATH
fi

mkdir "$scratch/images" "$scratch/spindle" "$scratch/pool"
mount -t tmpfs -o size=80% none "$scratch/images"
branches=()
for ((n = 0; n < DISKS; n++)); do branches+=("$scratch/b$n"); done
mkdir "${branches[@]}"
# The files are written to quick disks.
for ((n = 0; n < DISKS; n++)); do
    truncate -s $((MB * 2 / DISKS + 300))M "$scratch/images/whole$n"
    mkfs.ext4 -q -F -E lazy_itable_init=0 "$scratch/images/whole$n"
    mount -o loop "$scratch/images/whole$n" "${branches[n]}"
done
echo "== writing $FILES files, $MB MB" >&2
python3 integration/bench/corpus.py "$FILES" "$MB" "${branches[@]}"
find "${branches[@]}" -exec touch --no-dereference --date=2026-01-01 {} +
umount "${branches[@]}"

# A pool of slow disks, as it was written.
up() {
    local n device images=()
    down
    for ((n = 0; n < DISKS; n++)); do
        cp --sparse=always "$scratch/images/whole$n" "$scratch/images/disk$n"
        images+=("$scratch/images/disk$n")
    done
    "$SPINDLE" "$scratch/spindle" "${images[@]}" &
    until mountpoint -q "$scratch/spindle"; do sleep 0.1; done
    for ((n = 0; n < DISKS; n++)); do
        device=$(losetup --find --show "$scratch/spindle/$n")
        echo 1 > "/sys/block/${device#/dev/}/queue/rotational"
        echo mq-deadline > "/sys/block/${device#/dev/}/queue/scheduler"
        mount "$device" "${branches[n]}"
    done
    mergerfs -o minfreespace=1M,cache.files=off "$(IFS=:; echo "${branches[*]}")" "$scratch/pool"
}

results=$scratch/results
: > "$results"

# measured NAME COMMAND...: a line of results: seconds, the busiest disk's seconds, seeks of all, MB read and written.
measured() {
    local name=$1 begin end
    shift
    sync
    echo 3 > /proc/sys/vm/drop_caches
    cat "$scratch/spindle/counts" > /dev/null
    begin=$(date +%s.%N)
    "$@" > "$scratch/out" 2> "$scratch/err" || { echo "$name ended with status $?" >&2; tail -n 3 "$scratch/err" >&2; }
    end=$(date +%s.%N)
    awk -v name="$name" -v took="$(echo "$end $begin" | awk '{ print $1 - $2 }')" '
        { if ($1 > busy) busy = $1; seeks += $2; read += $3; written += $4 }
        END { printf "%s\t%.2f\t%.2f\t%d\t%d\t%d\n", name, took, busy / 1000, seeks, read, written }
    ' "$scratch/spindle/counts" | tee -a "$results" >&2
}

wanted() { [ -z "$ONLY" ] || [[ " $ONLY " == *" $1 "* ]]; }
ours() { "$BINARY" --journal "$scratch/journal" --no-cache "$@"; }
peer_links() { fclones group "$scratch/pool" -o "$scratch/groups" && fclones link < "$scratch/groups"; }

for ((round = 1; round <= ROUNDS; round++)); do
    echo "== round $round of $ROUNDS, load $(cut -d' ' -f1-3 /proc/loadavg)" >&2
    up
    wanted scan && measured 'scan' ours -q "$scratch/pool"
    wanted peer-branches && measured 'fclones group, the branches' fclones group -o "$scratch/groups" "${branches[@]}"
    wanted peer-pool && measured 'fclones group, the pool' fclones group -o "$scratch/groups" "$scratch/pool"
    if wanted execute || wanted verify || wanted undo; then
        rm -rf "$scratch/journal"
        measured 'scan and replace (-e)' ours -q -e "$scratch/pool"
        wanted verify && measured 'verify' "$BINARY" --journal "$scratch/journal" verify
        wanted undo && measured 'undo -e' "$BINARY" --journal "$scratch/journal" undo -e
    fi
    if wanted list; then
        up
        fclones group -f json -o "$scratch/list" "$scratch/pool" 2>/dev/null
        rm -rf "$scratch/journal"
        measured 'replace a list (-e -m)' "$BINARY" --journal "$scratch/journal" -q -e -m "$scratch/list"
    fi
    if wanted peer-links; then
        up
        measured 'fclones group, the pool, and link' peer_links
    fi
done

echo "$FILES files, $MB MB on $DISKS simulated rotating disks; kernel $(uname -r), $(nproc) cores;" \
    "$(mergerfs --version 2>&1 | head -n 1), $(fclones --version); median of $ROUNDS"
echo
python3 - "$results" << 'PYTHON'
import statistics
import sys

runs = {}
for line in open(sys.argv[1]):
    name, *figures = line.rstrip("\n").split("\t")
    runs.setdefault(name, []).append([float(figure) for figure in figures])
print("| | seconds | busiest disk | of its time | seeks | MB read | MB written |")
print("|---|---:|---:|---:|---:|---:|---:|")
for name, all_of in runs.items():
    took, busy, seeks, read, written = (statistics.median(of) for of in zip(*all_of))
    print(f"| {name} | {took:.1f} | {busy:.1f} | {took / max(busy, 0.001):.2f} | {seeks:.0f} | {read:.0f} | {written:.0f} |")
PYTHON
