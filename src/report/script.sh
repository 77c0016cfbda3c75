set -eu
LC_ALL=C
export LC_ALL
ops_done=0
ops_not_done=0
linked=

say() { printf '%s\n' "$*" >&2; }

regular() { [ -f "$1" ] && ! [ -L "$1" ]; }

# Whether two paths are names of one file; a symlink is another file than what it leads to.
same() { [ "$1" -ef "$2" ] && ! [ -L "$1" ] && ! [ -L "$2" ]; }

# What must not change between the comparison and the removal.
stamp() { stat -c '%d:%i %h %s %y %z' -- "$1"; }

# make_dir SOURCE TARGET [UID GID MODE]: made aside under a hidden name, complete before it is visible.
make_dir() {
	if [ -d "$2" ] && ! [ -L "$2" ]; then return 0; fi
	[ $# -gt 2 ] || set -- "$1" "$2" "$(stat -c %u -- "$1")" "$(stat -c %g -- "$1")" "00$(stat -c %a -- "$1")"
	aside=${2%/*}/.xdedup-script-dir
	if [ -d "$aside" ]; then rmdir -- "$aside" || return 1; fi # of a go that was killed
	mkdir -m 0700 -- "$aside" || return 1
	# mv -n: not over anything that came meanwhile.
	if chown -- "$3:$4" "$aside" && clone_extended "$1" "$aside" && chmod -- "$5" "$aside" &&
		touch -r "$1" -- "$aside" && mv -n -T -- "$aside" "$2" && ! [ -e "$aside" ]; then
		return 0
	fi
	rmdir -- "$aside"
	say "directory not made: $2"
	return 1
}

# clone_extended SOURCE TARGET: ACLs and extended attributes, where the tools for them are installed.
clone_extended() {
	if command -v getfacl && command -v setfacl; then
		(cd -- "$1" && getfacl -- .) |
			(cd -- "$2" && { setfacl -k -- . || :; } && setfacl --set-file=- -- .) || return 1
	fi >/dev/null 2>&1
	if command -v getfattr && command -v setfattr; then
		(cd -- "$1" && getfattr -d -e hex -m '^(user|trusted|security)\.' -- .) |
			sed '/^trusted\.SGI_ACL_/d' | (cd -- "$2" && setfattr --restore=-) || return 1
	fi >/dev/null 2>&1
}

# Each op is a function op_N, which calls what it is given with: N KIND MASTER, then DUPLICATE NEW for each name.
# NEW is where the master is linked: the name itself on the master's branch (cross), or a hidden name beside the
# duplicate (local). For a clone it is where the clone is linked: a file like the duplicate that shares the master's blocks.

# Whether an earlier go of this script did the op.
was_done() {
	kind=$2 master=$3 dup=
	shift 3
	for arg do
		if [ -z "$dup" ]; then
			dup=$arg
			continue
		fi
		if [ -e "$dup" ] || [ -L "$dup" ]; then
			same "$dup" "$master" || return 1
		elif [ "$kind" = clone ]; then
			regular "$arg" || return 1
		else
			same "$arg" "$master" || return 1
		fi
		dup=
	done
}

# make_clone KEPT DUPLICATE CLONE
make_clone() {
	rm -f -- "$3" # of a go that was killed
	cp --reflink=always -T -- "$1" "$3" && cp --attributes-only --preserve=all -T -- "$2" "$3" && return 0
	rm -f -- "$3"
	return 1
}

# Compares, and links the master to every NEW. Nothing is overwritten: ln fails where something is.
link_names() {
	n=$1 kind=$2 master=$3 dup= made=
	shift 3
	if ! regular "$master" || ! regular "$1" || same "$1" "$master"; then
		say "not done, not two regular files: $1"
		return 1
	fi
	before=$(stamp "$1") || return 1
	if ! cmp -s -- "$master" "$1"; then
		say "not done, contents differ: $1"
		return 1
	fi
	if [ "$(stat -c %h -- "$1")" != $(($# / 2)) ]; then
		say "not done, it has other names than were planned: $1"
		return 1
	fi
	first=$1 aside=
	if [ "$kind" = clone ]; then
		aside=${2%/*}/.xdedup-script-$n
		if ! make_clone "$master" "$1" "$aside"; then
			say "not done, cannot clone: $master"
			return 1
		fi
		master=$aside
	fi
	for arg do
		if [ -z "$dup" ]; then
			dup=$arg
			continue
		fi
		if same "$arg" "$master"; then
			made=${made}n # by an earlier go of this script
		elif same "$dup" "$first" && ln -T -- "$master" "$arg"; then
			made=${made}y
		else
			say "not done, cannot link: $dup"
			eval "made_$n=\$made"
			take_back "$n" "$kind" "$master" "$@"
			[ -z "$aside" ] || rm -f -- "$aside"
			return 1
		fi
		dup=
	done
	[ -z "$aside" ] || rm -f -- "$aside"
	eval "made_$n=\$made before_$n=\$before"
}

# Removes what link_names made, where the duplicate still has its name.
take_back() {
	eval "made=\$made_$1"
	kind=$2 master=$3 dup=
	shift 3
	[ "$kind" != clone ] || master=$2
	for arg do
		if [ -z "$dup" ]; then
			dup=$arg
			continue
		fi
		case $made in
		y*) if [ -e "$dup" ] && same "$arg" "$master" && ! same "$dup" "$master"; then rm -f -- "$arg"; fi ;;
		esac
		made=${made#?} dup=
	done
}

# Removes the duplicate's names, once the links are on the disk. For a local op mv puts the link over the name in
# one step.
remove_names() {
	kind=$2 master=$3 dup=
	eval "before=\$before_$1"
	shift 3
	[ "$kind" != clone ] || master=$2
	if [ "$(stamp "$1")" != "$before" ]; then
		say "not done, changed meanwhile: $1"
		return 1
	fi
	inode=$(stat -c %d:%i -- "$1")
	for arg do
		if [ -z "$dup" ]; then
			dup=$arg
			continue
		fi
		if ! same "$arg" "$master" || [ "$(stat -c %d:%i -- "$dup")" != "$inode" ]; then
			say "not done, changed meanwhile: $dup"
			return 1
		fi
		dup=
	done
	for arg do
		if [ -z "$dup" ]; then
			dup=$arg
			continue
		fi
		case $kind in
		cross | clone) rm -f -- "$dup" || return 1 ;;
		local) mv -f -T -- "$arg" "$dup" || return 1 ;;
		esac
		dup=
	done
}

# share KEPT FILE SIZE: the kernel compares once more, and shares the blocks. xfs_io is in xfsprogs; it does this on btrfs too.
share() {
	if ! command -v xfs_io >/dev/null; then
		say "not done, it takes xfs_io: $2"
	elif ! regular "$1" || ! regular "$2" || ! cmp -s -- "$1" "$2"; then
		say "not done, not two regular files of the same contents: $2"
	elif xfs_io -c "dedupe /dev/fd/3 0 0 $3" "$2" 3<"$1" >/dev/null; then
		ops_done=$((ops_done + 1))
		return 0
	fi
	ops_not_done=$((ops_not_done + 1))
}

# replace N: the first half of op N.
replace() {
	if "op_$1" was_done; then
		ops_done=$((ops_done + 1))
	elif "op_$1" link_names; then
		linked="$linked $1"
	else
		ops_not_done=$((ops_not_done + 1))
	fi
}

# settle BRANCH...: syncs the filesystems the links are on (the masters' data too), then the second half of the ops.
settle() {
	[ -n "$linked" ] || return 0
	if ! sync -f -- "$@"; then
		for n in $linked; do "op_$n" take_back; done
		say "sync failed: stopped, nothing of these ops was removed: $linked"
		exit 1
	fi
	for n in $linked; do
		if "op_$n" remove_names; then
			ops_done=$((ops_done + 1))
		else
			"op_$n" take_back
			ops_not_done=$((ops_not_done + 1))
		fi
	done
	linked=
}
