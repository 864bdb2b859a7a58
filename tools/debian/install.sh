#!/usr/bin/env bash
# Installs those packages of a list that are missing, without starting any service of theirs: install.sh tests, or venv.
# Does nothing where all are there, or where there is no dpkg. Without root it says what to install and exits 1.
set -euo pipefail

command -v dpkg-query > /dev/null || exit 0
list="$(dirname "${BASH_SOURCE[0]}")/${1:-tests}.txt"

missing=()
while read -r name _; do
    status="$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2> /dev/null || true)"
    [ "$status" = installed ] || missing+=("$name")
done < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$list")

[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "missing Debian packages, install them as root: apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "debian: ${missing[*]}"
# 101 is how a policy says that no service may be started; one that is there already stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
"${apt[@]}" install --yes --no-install-recommends "${missing[@]}" > /dev/null
