#!/usr/bin/env bash
# How time and memory grow with the number of files and of ops. As root, on Debian.
#
#   integration/bench/scale.sh                          10,000, 100,000 and 1,000,000 files on 24 disks; and as many ops
#   SIZES="10000 100000" DISKS=3 integration/bench/scale.sh
#   LIST_MAX=100000 integration/bench/scale.sh          no list of more groups: mergerfs is asked for each path
#
# A hundredth of the files (at most 1,000) has a copy on another disk. The last column shows what grows faster than the
# files: how much longer a file took than at the size before. Figures are printed, not judged.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. integration/environment.sh

SIZES=${SIZES:-10000 100000 1000000} DISKS=${DISKS:-24} LIST_MAX=${LIST_MAX:-10000000}

require_root "$@"
install_packages cc:gcc mergerfs:mergerfs mkfs.ext4:e2fsprogs losetup:mount fusermount3:fuse3 python3:python3
load_kernel_modules
find_cargo
if [ -z "${BINARY:-}" ]; then
    as_owner_cargo build --release --bin mergerfs-xdedup --example big_journal
    BINARY=${CARGO_TARGET_DIR:-target}/release/mergerfs-xdedup
fi
binary=$(readlink -f "$BINARY") big_journal=$(dirname "$(readlink -f "$BINARY")")/examples/big_journal

scratch=$(mktemp -d "${TMPDIR:-/tmp}/xdedup-scale.XXXXXX")
trap 'remove_scratch "$scratch"' EXIT
trap 'exit 130' INT TERM
results=$scratch/results
: > "$results"

# measured SIZE NAME COMMAND...: a line of results, from integration/bench/measure.py.
measured() {
    local size=$1 name=$2 got
    shift 2
    got=$(python3 integration/bench/measure.py "$@")
    printf '%s\t%s\t%s\n' "$name" "$size" "$got" | tee -a "$results" >&2
}

for size in $SIZES; do
    dir=$scratch/$size pool=$scratch/$size/pool branches=()
    mkdir -p "$pool"
    echo "== $size files on $DISKS disks, load $(cut -d' ' -f1-3 /proc/loadavg)" >&2
    for ((n = 0; n < DISKS; n++)); do
        # 256 bytes for each inode, and as much again for directories.
        truncate -s $((64 + size / DISKS / 1024))M "$dir/disk$n.img"
        mkfs.ext4 -q -F -I 256 -N $((size / DISKS * 5 / 4 + 1000)) -E lazy_itable_init=0 -b 1024 "$dir/disk$n.img"
        mkdir "$dir/disk$n"
        mount -o noatime "$(losetup --find --show "$dir/disk$n.img")" "$dir/disk$n"
        branches+=("$dir/disk$n")
    done
    python3 integration/bench/many.py "$size" "$pool" "$dir/list" "${branches[@]}"
    mergerfs -o minfreespace=1M,cache.files=off "$(IFS=:; echo "${branches[*]}")" "$pool"
    ours=("$binary" --journal "$dir/journal" -q)
    measured "$size" 'scan' "${ours[@]}" --no-cache --min-size 1 "$pool"
    [ "$size" -gt "$LIST_MAX" ] ||
        measured "$size" 'list, a group each' "${ours[@]}" --any-master -m "$dir/list"
    measured "$size" 'scan and run (-e)' "${ours[@]}" --no-cache --min-size 1 "$pool" -e
    "$big_journal" "$dir/many" "$size" "$pool" "${branches[@]}"
    ours=("$binary" --journal "$dir/many")
    measured "$size" 'open the journal (history)' "${ours[@]}" history
    measured "$size" 'status' "${ours[@]}" status
    measured "$size" 'undo --path, a dry run' "${ours[@]}" undo --path "$pool/incoming/1/1"
    measured "$size" 'export' "${ours[@]}" export --csv
    umount "$pool"
    for disk in "${branches[@]}"; do umount "$disk"; done
    rm -rf "$dir"
done

echo "$DISKS disks (ext4); kernel $(uname -r), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg); $(mergerfs --version | head -n 1)"
echo
python3 - "$results" << 'PYTHON'
import sys

print("| | files | seconds | of a processor | peak MiB | growth |")
print("|---|---:|---:|---:|---:|---:|")
before = {}
for line in open(sys.argv[1]):
    name, size, got = line.rstrip("\n").split("\t")
    _, took, cpu, peak = got.split()
    each = float(cpu) / int(size)
    growth = f"{each / before[name]:.2f}" if name in before else ""
    before[name] = each
    print(f"| {name} | {int(size):,} | {float(took):.2f} | {float(cpu):.2f} | {int(peak) // 1024} | {growth} |")
PYTHON
