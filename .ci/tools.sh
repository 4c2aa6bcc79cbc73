# Sourced by .ci/audit and .ci/sbom: makes `tools`, an environment of their own in .cache, from requirements-audit.lock.
tools=.cache/audit
mkdir -p .cache
if command -v flock >/dev/null; then  # one at a time, where the system can
    exec 9>.cache/audit.lock
    flock 9
fi
if [ "$(cat "$tools/.made" 2>/dev/null)" != "$(cksum <requirements-audit.lock)" ]; then
    rm -rf "$tools"
    .venv/bin/python -m venv "$tools" || exit 1
    "$tools/bin/python" -m pip install --disable-pip-version-check --no-input --quiet --require-hashes --only-binary :all: \
        -r requirements-audit.lock || { echo "the tools of the audit cannot be installed, so nothing was looked up" >&2; exit 1; }
    cksum <requirements-audit.lock >"$tools/.made"
fi
