#!/usr/bin/env bash
# Writes requirements.lock: what pip resolves for pyproject.toml with all its extras and its dev group in an empty environment.
# Pinned versions only, no hashes and no index addresses, so that plain pip installs it anywhere.
set -euo pipefail
python=${1:-python3.11}
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet --upgrade "pip>=25.1"
"${pip[@]}" install --quiet torch==2.13.0
"${pip[@]}" install --quiet --group dev setuptools -e ".[all]"
"${pip[@]}" check
{
    echo "# Written by \`make lock\` from pyproject.toml; do not edit."
    # A local build tag (torch's +cpu) names one index's build; the version alone installs everywhere.
    "${pip[@]}" freeze --all --exclude karat --exclude pip --exclude-editable | sed -E 's/\+[a-z0-9.]+$//' | grep -v '^#' | sort -f
} > "$folder/lock"
mv "$folder/lock" requirements.lock
echo "requirements.lock: $(grep -c == requirements.lock) packages"
