# Shared by the scripts here, of the demo and of the set-up: where archives are kept, how long
# steps show themselves, and a Podman store that is nobody else's.
# shellcheck shell=bash

if [ -z "${PODMANSPAWNER_CACHE:-}" ]; then
    if [ "$(id -u)" = 0 ]; then
        PODMANSPAWNER_CACHE=/var/cache/podmanspawner
    else
        PODMANSPAWNER_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/podmanspawner
    fi
fi
cache=$PODMANSPAWNER_CACHE

say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

# step TEXT COMMAND... : runs quietly, says every ten seconds that it lives, shows all if it fails.
step() {
    local text=$1 log started=$SECONDS ticker status=0
    shift
    log=$(mktemp)
    say "$text …"
    (
        trap 'kill "$nap" 2>/dev/null; exit' TERM
        while sleep 10 & nap=$!; wait "$nap"; do say "$text … $((SECONDS - started)) s"; done
    ) &
    ticker=$!
    "$@" >"$log" 2>&1 || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    if [ "$status" != 0 ]; then
        cat "$log" >&2
        say "$text: failed with status $status"
    else
        say "$text: done in $((SECONDS - started)) s"
    fi
    rm -f "$log"
    return "$status"
}

# recipe_key FILE... -- WORD... : one short name for what an image is made of.
recipe_key() {
    { while [ "$1" != -- ]; do cat "$1"; shift; done; printf '%s\n' "$@"; } |
        sha256sum | cut -c1-16
}

# private_podman ARGS... : Podman on a store below $work, whatever the host's storage.conf says.
private_podman() {
    CONTAINERS_STORAGE_CONF=$work/storage.conf XDG_RUNTIME_DIR=$work/run \
        XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data TMPDIR=$work \
        podman --root "$work/root" --runroot "$work/runroot" --cgroup-manager cgroupfs "$@"
}

open_workshop() {
    umask 022
    mkdir -p "$cache"
    # /var/tmp, since an image is too large for a /tmp in memory.
    work=$(mktemp -d /var/tmp/podmanspawner-build.XXXXXX)
    trap close_workshop EXIT
    trap 'exit 130' INT TERM
    # The subordinate ids that unpack the base must be able to walk in.
    chmod 711 "$work"
    mkdir -m 700 "$work/run"
    printf '[storage]\ndriver = "overlay"\nrunroot = "%s"\ngraphroot = "%s"\n' \
        "$work/runroot" "$work/root" >"$work/storage.conf"
}

close_workshop() {
    rm -f "$cache/.new.$$"
    if [ "$(id -u)" = 0 ]; then
        umount "$work/root/overlay" 2>/dev/null || true
    else
        # Layers belong to subordinate ids, which only the user namespace may remove, and
        # rootless Podman leaves a process behind that holds the namespace open.
        private_podman unshare sh -c 'umount "$0/overlay"; rm -rf "$0"' "$work/root" 2>/dev/null || true
        private_podman system migrate >/dev/null 2>&1 || true
    fi
    rm -rf "$work"
}

# keep_image NAME ARCHIVE : saved whole, or not at all. Not compressed: it loads sooner.
keep_image() {
    private_podman save --quiet --format docker-archive --output "$cache/.new.$$" "$1"
    mv "$cache/.new.$$" "$2"
}
