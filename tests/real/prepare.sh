#!/bin/sh
# Set up the servers of `make real` under .cache/real, or those that are named, once: each in an environment of its own, pinned.
set -eu
cd "$(dirname "$0")/../.."
python=$(.venv/bin/python -c "import sys; print(sys._base_executable)")
command -v "$python" >/dev/null || python=python3
for name in ${*:-llamacpp transformers litellm}; do
    home=.cache/real/$name
    pins=tests/real/$name.txt
    if cmp -s "$pins" "$home/installed.txt"; then
        continue
    fi
    rm -rf "$home"
    "$python" -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins"
    cp "$pins" "$home/installed.txt"
done
[ ! -d .cache/real/llamacpp ] || [ -f .cache/real/tiny.gguf ] || .cache/real/llamacpp/bin/python tests/real/make_gguf.py .cache/real/tiny.gguf
[ ! -d .cache/real/transformers ] || [ -d .cache/real/tiny-llama ] || .cache/real/transformers/bin/python tests/real/make_transformers.py .cache/real/tiny-llama
