# Shared by `run` and `clean`: whose accounts these are, and how to act as one of them.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$top/.ci/env"
. "$top/examples/image/common.sh"

image=localhost/podmanspawner/singleuser:latest
accounts=(podmandemo1 podmandemo2)
# Only accounts with this comment were made by the demo, and only those are touched.
marker="podmanspawner demo"
state=$cache/demo

uid_of() { id -u "$1"; }
is_ours() { [ "$(getent passwd "$1" | cut -d: -f5 | cut -d, -f1)" = "$marker" ]; }
has_systemd() { [ -d /run/systemd/system ]; }

# as NAME COMMAND... : the command as that account, in an environment of its own.
as() {
    local name=$1 uid home become=()
    shift
    uid=$(uid_of "$name")
    home=$(getent passwd "$name" | cut -d: -f6)
    [ "$(id -u)" != 0 ] || become=(runuser -u "$name" --)
    local vars=(HOME="$home" USER="$name" LOGNAME="$name" PATH=/usr/bin:/bin:/usr/sbin:/sbin
        XDG_RUNTIME_DIR="/run/user/$uid")
    [ ! -S "/run/user/$uid/bus" ] || vars+=(DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$uid/bus")
    (cd / && "${become[@]}" env -i "${vars[@]}" "$@")
}
