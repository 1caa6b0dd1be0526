# shellcheck shell=bash

# isolated SECONDS COMMAND...: in mount and process namespaces of its own. When the command ends, the
# time is up (exit code 124) or the caller dies in any way, no process and no mount of it is left.
isolated() {
    local seconds=$1 status=0
    shift
    setpriv --pdeathsig KILL timeout --foreground --signal=KILL "$seconds" \
        setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc "$@" || status=$?
    # timeout kills itself the same way, so the shell sees 128 + SIGKILL.
    [ "$status" -ne 137 ] || status=124
    return "$status"
}
