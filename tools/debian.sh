#!/bin/sh
# Runs a command on a fresh copy of HEAD in a bare Debian: only Python, make and git.
#
#   debian.sh SUITE COMMAND [ARGUMENT…]      for example: debian.sh trixie make test
#   debian.sh --booted SUITE                 makes a system with systemd instead, and prints its folder
#
# The system is made once by debootstrap in $TMPDIR (/var/tmp), about 400 MB, and used again. Needs root.
set -eu

fail() {
    echo "error: $*" >&2
    exit 1
}

make_root() {
    # A suite that is newer than the installed debootstrap is made like sid.
    script=/usr/share/debootstrap/scripts/$suite
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
    rm -rf "$root" "$root.part"
    mkdir -p "$root.part"
    debootstrap --variant=minbase --include="ca-certificates,git,make,procps,python3,python3-venv$more" \
        "$suite" "$root.part" "${DEBIAN_MIRROR:-}" "$script" > "$root.log" 2>&1 || {
        tail -n 20 "$root.log" >&2
        fail "debootstrap cannot make Debian $suite: the last lines of $root.log are above"
    }
    rm -rf "$root.part"/var/cache/apt/archives/*.deb "$root.part"/usr/share/doc "$root.part"/var/lib/apt/lists/*
    mv "$root.part" "$root"
}

# What the machine knows and a bare Debian does not: names, certificates, where pip looks.
lend() {
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "$file" ] || cp -L "$file" "$root$file"
    done
}

copy_head() {
    rm -rf "$root/src"
    mkdir "$root/src"
    git archive HEAD | tar -x -C "$root/src"
    chown -R root:root "$root/src"
    # Some tests ask git for the files of the project.
    git -C "$root/src" init -q
    git -C "$root/src" add -A
}

more=
booted=
[ "${1:-}" != --booted ] || {
    booted=-booted
    more=,dbus,python-is-python3,systemd,systemd-sysv
    shift
}
[ $# -ge 2 ] || [ "$#$booted" = 1-booted ] || fail "usage: debian.sh SUITE COMMAND [ARGUMENT…], or --booted SUITE"
suite=$1
shift
[ "$(id -u)" = 0 ] || fail "debian.sh needs root, for debootstrap and chroot"
command -v debootstrap > /dev/null || fail "debootstrap is not installed: apt install debootstrap"
cd "$(dirname "$0")/.."
roots=${TMPDIR:-/var/tmp}/insignia-worker-debian
root=$roots/$suite$booted
mkdir -p "$roots"
exec 9> "$root.lock"
flock 9
[ -e "$root" ] || make_root
lend
[ -z "$booted" ] || {
    echo "$root"
    exit
}
copy_head
exec unshare --mount sh -c '
    root=$1
    shift
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 TERM=dumb \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        $(env | grep -E "^(PIP_[A-Z_]+|https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY)=") \
        sh -c "cd /src && exec \"\$@\"" sh "$@"
' sh "$root" "$@" 9>&-
