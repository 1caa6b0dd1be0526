# shellcheck shell=bash
# Sourced: make roots once (see make-root) and keep them below ACME_ALPN_ROOTS. The sourcing script must
# define `say` and use `set -e`.

ROOTS=${ACME_ALPN_ROOTS:-/var/cache/acme-alpn-roots}
MAKE_ROOT=${BASH_SOURCE[0]%/*}/make-root
# The exit code if the packages cannot be reached.
UNREACHABLE=77

no_root() {
    local status=$1 log=$2 lines=20
    [ "$status" -ne $UNREACHABLE ] || lines=1
    tail -n $lines "$log" >&2
    rm -rf --one-file-system "$root.partial"
    exit "$status"
}

# provide_root NAME SUITE PACKAGE...: set `root` to the root of this name. Make it if it is missing, or if
# the suite or the packages (make-root's arguments) have changed. The lock is exclusive while a root is
# made, and then shared until this process ends.
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

# copy_sources REPOSITORY TARBALL: pack the working tree's files that git does not ignore.
copy_sources() {
    # git also lists a file that was deleted but whose deletion is not committed.
    git -C "$1" ls-files --cached --others --exclude-standard -z |
        (cd "$1" && while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file"
        done | tar --create --null --files-from=- --owner=0 --group=0) >"$2"
}
