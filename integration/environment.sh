# What the scripts that need a real machine share. Sourced, not run.

require_root() {
    [ "$(id -u)" = 0 ] && return
    echo "this mounts disks: run it as root, for example: sudo $0 $*" >&2
    exit 1
}

# install_packages PROGRAM:PACKAGE...: the packages of the programs that are not there.
install_packages() {
    local missing=() pair
    PATH=$PATH:/usr/sbin:/sbin
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || { echo "please install: ${missing[*]}" >&2; exit 1; }
    echo "== installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# The devices that pools on loop disks need. Built-in modules make modprobe fail, which does not matter.
load_kernel_modules() {
    local module
    for module in loop fuse xfs btrfs vfat exfat; do
        modprobe -q "$module" 2>/dev/null || true
    done
    [ -e /dev/fuse ] || { echo "no /dev/fuse here" >&2; exit 1; }
    [ -e /dev/loop-control ] || { echo "no /dev/loop-control here" >&2; exit 1; }
    # What udev does on a Debian; a machine without it keeps the device for root, and no other user can mount a preview.
    chmod 666 /dev/fuse
}

# Under sudo the toolchain is that of the person who called it.
find_cargo() {
    local home
    home=$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)
    if ! command -v cargo >/dev/null && [ -x "$home/.cargo/bin/cargo" ]; then
        PATH=$home/.cargo/bin:$PATH
    fi
    command -v cargo >/dev/null || { echo "no cargo found, neither in PATH nor in $home/.cargo/bin" >&2; exit 1; }
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
