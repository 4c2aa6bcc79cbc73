#!/bin/sh
# Fetch what the tests need beside Python packages, and nothing when it is there already.
#
#   promtool and prometheus   Debian package prometheus
#   nginx                     Debian package nginx (nginx-light would do)
#   libfaketime               Debian package libfaketime
#   chromium                  Debian package chromium, installed (root only): its libraries are too many to unpack
#   node and npm              Debian packages nodejs and npm, installed (root only): they are too many to unpack
#   SDKs for Python           pip, from tests/sdks/locks/core.lock, into .cache/sdks/core
#   SDKs for Node             npm, from tests/node/package-lock.json
#
# Debian's packages are downloaded and unpacked into .cache/debian. Installing them would start services on this machine
# and would need root; unpacking does neither. Where a tool cannot be had, this says how to install it and goes on: the
# tests that need it are then skipped, or fail when CI is set.
set -eu
cd "$(dirname "$0")/../.."
root=.cache/debian
PATH="$PWD/$root/usr/bin:$PWD/$root/usr/sbin:$PATH:/usr/sbin"

say() { printf '%s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

refresh_lists() {
    # A package index of our own, so that neither root nor the machine's index is touched.
    mkdir -p .cache/apt/lists/partial .cache/apt/archives/partial
    own_index="-o Dir::State::lists=$PWD/.cache/apt/lists -o Dir::Cache=$PWD/.cache/apt -o APT::Sandbox::User="
    # shellcheck disable=SC2086
    [ "${refreshed:-}" ] || apt-get $own_index -qq update
    refreshed=yes
}

download() (
    cd .cache/debian/deb
    # shellcheck disable=SC2086
    apt-get ${own_index:-} -qq -o APT::Sandbox::User= download "$1" >&2
)

unpack() {
    has apt-get && has dpkg-deb || return 1
    mkdir -p "$root/deb"
    rm -f "$root/deb/$1"_*.deb
    say "Fetching Debian's $1 into $root"
    download "$1" 2>/dev/null || { refresh_lists && download "$1"; } || return 1
    dpkg-deb -x "$root/deb/$1"_*.deb "$root" && rm -f "$root/deb/$1"_*.deb
}

need() {
    tool=$1
    package=$2
    has "$tool" || unpack "$package" || true
    "$tool" "$3" >/dev/null 2>&1 || say "$tool is missing: on Debian and Ubuntu, apt install $package"
}

need promtool prometheus --version
need prometheus prometheus --version
need nginx nginx -v
ls "$root"/usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/*/faketime/libfaketimeMT.so.1 2>/dev/null | grep -q . ||
    unpack libfaketime || say "libfaketime is missing: on Debian and Ubuntu, apt install libfaketime"

tests/sdks/prepare.sh core || say "the SDKs for Python are missing: tests/sdks/prepare.sh core"

install() {
    [ "$(id -u)" = 0 ] && has apt-get || return 0
    say "Installing Debian's $*"
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null; } ||
        true
}

has chromium || has google-chrome || install chromium fonts-liberation
has chromium || has google-chrome || say "chromium is missing: on Debian and Ubuntu, apt install chromium"
has npm || install nodejs npm
if ! has npm; then
    say "npm is missing: on Debian and Ubuntu, apt install nodejs npm"
    exit 0
fi
lock=$(cksum <tests/node/package-lock.json)
stamp=tests/node/node_modules/.installed
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$lock" ]; then
    say "Fetching the SDKs for Node"
    npm ci --prefix tests/node --no-audit --no-fund --ignore-scripts --no-update-notifier --loglevel=error >&2
    printf '%s\n' "$lock" >"$stamp"
fi
