# shellcheck shell=bash
# Sourced: roots that are made once (see make-root) and kept below ACME_ALPN_ROOTS. Whoever sources it
# has `say` and `set -e`.

ROOTS=${ACME_ALPN_ROOTS:-/var/cache/acme-alpn-roots}
MAKE_ROOT=${BASH_SOURCE[0]%/*}/make-root
# The exit code where the packages cannot be reached.
UNREACHABLE=77

no_root() {
    local status=$1 log=$2 lines=20
    [ "$status" -ne $UNREACHABLE ] || lines=1
    tail -n $lines "$log" >&2
    rm -rf --one-file-system "$root.partial"
    exit "$status"
}

# provide_root NAME SUITE PACKAGE...: set `root` to the root of this name, which is made where it is
# missing or the suite or the packages (make-root's arguments) have changed. Its lock is held alone
# while that goes on, and shared as long as this process lives.
provide_root() {
    local name=$1 suite=$2 log=$ROOTS/$1.log key lock start=$SECONDS
    shift
    key=$(printf '%s\n' "$@" | sha256sum | cut -c 1-12)
    shift
    root=$ROOTS/$name-$key
    mkdir -p "$ROOTS"
    exec {lock}>"$ROOTS/$name.lock"
    flock --shared "$lock"
    [ ! -d "$root" ] || return 0
    flock "$lock"
    if [ ! -d "$root" ]; then
        rm -rf --one-file-system "$ROOTS/$name-"*
        say "making $root (its log: $log)"
        "$MAKE_ROOT" "$suite" "$root.partial" "$@" >"$log" 2>&1 || no_root $? "$log"
        mv "$root.partial" "$root"
        say "made it in $((SECONDS - start)) s"
    fi
    flock --shared "$lock"
}

# copy_sources REPOSITORY TARBALL: the working tree's files that git does not ignore.
copy_sources() {
    # A file that was removed, and is not committed so, is still in git's list.
    git -C "$1" ls-files --cached --others --exclude-standard -z |
        (cd "$1" && while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file"
        done | tar --create --null --files-from=- --owner=0 --group=0) >"$2"
}
