#!/bin/sh
# Set up SDKs and tools under .cache/sdks, once: each group in an environment of its own, because they disagree about
# each other's versions. Every package is checked against its hash.
#
#   tests/sdks/prepare.sh core        the official SDKs for Python, which `make test` needs
#   tests/sdks/prepare.sh all         and the frameworks and command-line tools of `make sdks`
set -eu
cd "$(dirname "$0")/../.."

say() { printf '%s\n' "$*" >&2; }

base_python() {
    # Without a version manager's stubs: the interpreter below .venv.
    python=$(.venv/bin/python -c 'import sys; print(sys._base_executable)')
    command -v "$python" >/dev/null || python=python3
    printf '%s\n' "$python"
}

prepare_python() {
    lock=tests/sdks/locks/$1.lock
    home=.cache/sdks/$1
    if cmp -s "$lock" "$home/installed.lock" && "$home/bin/python" -c pass 2>/dev/null; then
        return
    fi
    say "Installing from $lock into $home"
    rm -rf "$home"
    "$(base_python)" -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --requirement "$lock"
    cp "$lock" "$home/installed.lock"
}

prepare_node() {
    home=.cache/sdks/cli
    if cmp -s tests/sdks/cli/package-lock.json "$home/installed.lock"; then
        return
    fi
    say "Installing from tests/sdks/cli/package-lock.json into $home"
    rm -rf "$home"
    mkdir -p "$home"
    cp tests/sdks/cli/package.json tests/sdks/cli/package-lock.json "$home"
    # Only these two may run a script of their own: it puts the program for this machine into its place.
    npm ci --prefix "$home" --no-audit --no-fund --no-update-notifier --loglevel=error >&2
    cp tests/sdks/cli/package-lock.json "$home/installed.lock"
}

case ${1:?core or all} in
    core) prepare_python core ;;
    all)
        for lock in tests/sdks/locks/*.lock; do
            prepare_python "$(basename "$lock" .lock)" || say "not installed: $lock"
        done
        prepare_node || say "not installed: tests/sdks/cli"
        ;;
    *)
        echo "usage: tests/sdks/prepare.sh core|all" >&2
        exit 2
        ;;
esac
