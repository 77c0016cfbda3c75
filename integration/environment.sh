# What the scripts that need a real machine share. Sourced, not run.

# A path of the caller's: each script goes to the top of the tree first.
[ -z "${MERGERFS:-}" ] || MERGERFS=$(cd "${OLDPWD:-.}" && realpath -m "$MERGERFS")

# require_root ARGUMENT...: runs the script again under sudo, with its settings, unless this is root.
require_root() {
    [ "$(id -u)" != 0 ] || return 0
    # From where it was called: each script goes to the top of the tree first.
    local script settings=() name
    script=$(cd "${OLDPWD:-.}" && readlink -f "$0")
    if ! command -v sudo >/dev/null; then
        echo "this mounts disks: run it as root, for example: su -c '$script'" >&2
        exit 1
    fi
    for name in KEEP TMPDIR MERGERFS "${!XDEDUP_@}"; do
        [ -z "${!name:-}" ] || settings+=("$name=${!name}")
    done
    echo "this mounts disks; it goes on under sudo" >&2
    exec sudo env "${settings[@]}" "$script" "$@"
}

# install_packages PROGRAM:PACKAGE...: the packages of the programs that are not there.
install_packages() {
    local missing=() pair
    PATH=$PATH:/usr/sbin:/sbin
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
        # A compiler that came without what it recommends cannot link.
        [ "$pair" != cc:gcc ] || [ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || { echo "please install: ${missing[*]}" >&2; exit 1; }
    echo "== installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# use_mergerfs DIR: makes $MERGERFS, if it is set, the `mergerfs` of all that follows, by a link in DIR.
use_mergerfs() {
    [ -n "${MERGERFS:-}" ] || return 0
    [ -f "$MERGERFS" ] && [ -x "$MERGERFS" ] || { echo "MERGERFS=$MERGERFS is no program" >&2; exit 1; }
    mkdir "$1"
    ln -s "$MERGERFS" "$1/mergerfs"
    PATH=$1:$PATH
}

# The devices that pools on loop disks need. Built-in modules make modprobe fail, which does not matter.
load_kernel_modules() {
    local module
    for module in loop fuse xfs btrfs vfat exfat; do
        modprobe -q "$module" 2>/dev/null || true
    done
    [ -e /dev/fuse ] || mknod /dev/fuse c 10 229 2>/dev/null || true
    [ -e /dev/fuse ] || { echo "no /dev/fuse here: modprobe fuse; a container needs --device /dev/fuse" >&2; exit 1; }
    [ -e /dev/loop-control ] || { echo "no /dev/loop-control here" >&2; exit 1; }
    # What udev does on a Debian; a machine without it keeps the device for root, and no other user can mount a preview.
    chmod 666 /dev/fuse
}

# Under sudo the toolchain is that of the person who called it.
find_cargo() {
    local home
    home=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
    # Before the system's own, which may be too old: rustup puts it there.
    if [ -x "$home/.cargo/bin/cargo" ]; then
        PATH=$home/.cargo/bin:$PATH
    fi
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || true
    if [ "$(printf '%s\n' "$needed" "${found:-0}" | sort -V | head -n 1)" != "$needed" ]; then
        echo "Rust $needed or later is needed, found: ${found:-none}. Install it with rustup (https://rustup.rs):" >&2
        echo "    apt-get install curl && curl -sSf https://sh.rustup.rs | sh -s -- -y" >&2
        exit 1
    fi
    if [ -n "${SUDO_USER:-}" ] && [ -d "$home/.cargo" ]; then
        export CARGO_HOME=${CARGO_HOME:-$home/.cargo}
        [ ! -d "$home/.rustup" ] || export RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
    fi
}

# Builds as whoever the checkout belongs to: no file of root's in a person's tree or cargo home.
as_owner_cargo() {
    local owner
    owner=$(stat -c %U .)
    if [ "$owner" = "${SUDO_USER:-}" ] && [ "$owner" != root ]; then
        sudo -u "$owner" env "PATH=$PATH" ${CARGO_HOME:+"CARGO_HOME=$CARGO_HOME"} \
            ${RUSTUP_HOME:+"RUSTUP_HOME=$RUSTUP_HOME"} cargo "$@"
    else
        cargo "$@"
    fi
}

# Puts fclones, which Debian does not have, below the build directory, once.
install_fclones() {
    local tools
    tools=$(readlink -m "${CARGO_TARGET_DIR:-target}")/tools
    PATH=$PATH:$tools/bin
    command -v fclones >/dev/null || as_owner_cargo install --locked --root "$tools" fclones@0.35.0
}

# mount_scratch_pool DIR: DIR/pool, a mergerfs over the loop disks DIR/disk1, DIR/disk2 and DIR/disk3.
mount_scratch_pool() {
    local dir=$1 disk
    mkdir "$dir/pool"
    for disk in "$dir/disk1" "$dir/disk2" "$dir/disk3"; do
        truncate -s 256M "$disk.img"
        mkfs.ext4 -q "$disk.img"
        mkdir "$disk"
        mount "$(losetup --find --show "$disk.img")" "$disk"
    done
    mergerfs -o allow_other,minfreespace=1M,category.create=mfs "$dir/disk1:$dir/disk2:$dir/disk3" "$dir/pool"
}

# remove_scratch DIR: unmounts what is mounted below DIR, innermost first, frees its loop devices, removes it.
remove_scratch() {
    local dir=$1 mount device
    [ -n "$dir" ] && [ -d "$dir" ] || return 0
    awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r mount; do
            umount "$mount" 2>/dev/null || umount --lazy "$mount"
        done
    losetup --list --noheadings --output NAME,BACK-FILE |
        awk -v dir="$dir/" 'index($2, dir) == 1 { print $1 }' |
        while read -r device; do
            losetup --detach "$device"
        done
    rm -rf --one-file-system "$dir"
}
