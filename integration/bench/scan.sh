#!/usr/bin/env bash
# How fast the own scan is beside jdupes, fclones, rmlint and rdfind. As root, on Debian; installs what is missing.
#
#   integration/bench/scan.sh              67,000 files, 3.4 GB, on ext4, xfs and btrfs
#   FILES=5000 MB=300 integration/bench/scan.sh
#   ROUNDS=3 integration/bench/scan.sh     how often each is run; the median is shown
#   FILES=1000000 MB=2000 ROUNDS=1 WARMTHS=warm TOOLS="xdedup jdupes fclones" POOL_PEERS= \
#       integration/bench/scan.sh          the memory that a million small files take
#
# Every tool runs once a round, so that all meet the same machine. Times are printed, not judged; whether all find
# the same duplicates is. All of it lies below one new directory in $TMPDIR, which is removed.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. integration/environment.sh

FILES=${FILES:-67000} MB=${MB:-3400} ROUNDS=${ROUNDS:-3}
# Which tools are also given the mount: slow.
POOL_PEERS=${POOL_PEERS-jdupes fclones rmlint rdfind} TOOLS=${TOOLS-xdedup jdupes fclones rmlint rdfind}
WARMTHS=${WARMTHS-warm cold}

require_root "$@"
install_packages cc:gcc mergerfs:mergerfs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mkfs.ext4:e2fsprogs losetup:mount \
    fusermount3:fuse3 python3:python3 jdupes:jdupes rmlint:rmlint rdfind:rdfind
load_kernel_modules
find_cargo
if [ -z "${BINARY:-}" ]; then
    as_owner_cargo build --release
    BINARY=${CARGO_TARGET_DIR:-target}/release/mergerfs-xdedup
fi
BINARY=$(readlink -f "$BINARY")

scratch=$(mktemp -d "${TMPDIR:-/tmp}/xdedup-bench.XXXXXX")
trap 'remove_scratch "$scratch"' EXIT
trap 'exit 130' INT TERM
if ! command -v fclones >/dev/null; then
    echo "== installing fclones" >&2
    cargo install --quiet --locked fclones --root "$scratch/peers"
    PATH=$scratch/peers/bin:$PATH
fi

# make_disk NAME MKFS...: a disk in a file, mounted at $scratch/NAME.
make_disk() {
    local name=$1 device
    shift
    truncate -s $((MB * 2 + FILES / 100 + 1500))M "$scratch/$name.img"
    "$@" "$scratch/$name.img" >/dev/null 2>&1
    device=$(losetup --find --show "$scratch/$name.img")
    mkdir "$scratch/$name"
    mount -o noatime "$device" "$scratch/$name"
}

make_disk d1 mkfs.ext4 -q -i 8192
make_disk d2 mkfs.xfs -q
make_disk d3 mkfs.btrfs -q
branches=("$scratch/d1" "$scratch/d2" "$scratch/d3")
pool=$scratch/pool
mkdir "$pool"
echo "== writing $FILES files, $MB MB" >&2
python3 integration/bench/corpus.py "$FILES" "$MB" "${branches[@]}"
sync
mergerfs -o minfreespace=1M,cache.files=off "$(IFS=:; echo "${branches[*]}")" "$pool"

results=$scratch/results
: > "$results"

# measured TOOL WHERE WARMTH SCAN COMMAND...: one line of results.
measured() {
    local tool=$1 where=$2 warmth=$3 scan=$4 got
    shift 4
    if [ "$warmth" = cold ]; then
        sync
        echo 3 > /proc/sys/vm/drop_caches
    fi
    got=$(python3 integration/bench/measure.py "$@")
    case $got in
        "0 "*) echo "$where $warmth $scan $tool ${got#* }" >> "$results" ;;
        *) echo "$tool ended with status ${got%% *}: $*" >&2 ;;
    esac
    echo "$where $warmth $scan $tool: $got" >&2
}

# one TOOL WHERE WARMTH DIR...: the first scan, and the second where the tool remembers anything.
one() {
    local tool=$1 where=$2 warmth=$3 state=$scratch/state
    shift 3
    rm -rf "$state"
    mkdir "$state"
    export XDG_CACHE_HOME=$state HOME=$state
    case $tool in
        xdedup)
            # It finds the branches itself, wherever it is pointed at.
            set -- "$BINARY" -q --cache "$state" "$pool"
            measured xdedup "$where" "$warmth" first "$@"
            measured xdedup "$where" "$warmth" second "$@" ;;
        jdupes) measured jdupes "$where" "$warmth" first jdupes -q -r "$@" ;;
        rmlint) measured rmlint "$where" "$warmth" first rmlint -T df -o "json:$state/out" "$@" ;;
        rdfind) measured rdfind "$where" "$warmth" first rdfind -dryrun true -makeresultsfile false "$@" ;;
        fclones)
            measured fclones "$where" "$warmth" first fclones group -o "$state/out" "$@"
            measured fclones "$where" "$warmth" filling fclones group --cache -o "$state/out" "$@"
            measured fclones "$where" "$warmth" second fclones group --cache -o "$state/out" "$@" ;;
    esac
}

# What one tool threw out of memory is there again for the next.
warm() { find "${branches[@]}" -type f -exec cat {} + > /dev/null; }

for round in $(seq "$ROUNDS"); do
    echo "== round $round of $ROUNDS, load $(cut -d' ' -f1-3 /proc/loadavg)" >&2
    cut -d' ' -f1 /proc/loadavg >> "$scratch/load"
    for warmth in $WARMTHS; do
        for tool in $TOOLS; do
            [ "$warmth" = cold ] || warm
            one "$tool" branches "$warmth" "${branches[@]}"
        done
        for tool in $POOL_PEERS; do
            [ "$warmth" = cold ] || warm
            one "$tool" pool "$warmth" "$pool"
        done
    done
done

echo "$FILES files, $MB MB on ext4, xfs and btrfs; kernel $(uname -r), $(nproc) cores; $(mergerfs --version | head -n 1)"
echo "load at the beginning of each round: $(paste -sd' ' "$scratch/load")"
echo "jdupes $(jdupes -v 2>&1 | sed -n '1s/jdupes //p'), $(fclones --version), $(rmlint --version 2>&1 |
    sed -n '1s/ compiled.*//p'), $(rdfind --version 2>&1 | head -n 1); median of $ROUNDS"
echo
python3 integration/bench/table.py "$results"
echo
echo "== whether all find the same, on awkward files too"
python3 integration/bench/same.py "$BINARY" "$pool" "$scratch" "${branches[@]}"
