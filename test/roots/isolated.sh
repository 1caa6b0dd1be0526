# shellcheck shell=bash

# isolated SECONDS COMMAND...: run the command in new mount and process namespaces. When it ends, times
# out (exit code 124), or the caller dies in any way, all of its processes and mounts vanish.
isolated() {
    local seconds=$1 status=0
    shift
    setpriv --pdeathsig KILL timeout --foreground --signal=KILL "$seconds" \
        setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc "$@" || status=$?
    # timeout kills itself the same way, so the shell sees 128 + SIGKILL.
    [ "$status" -ne 137 ] || status=124
    return "$status"
}
