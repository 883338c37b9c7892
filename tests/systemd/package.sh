#!/bin/sh
# Builds the Debian package, has lintian look at it, and tries it in a booted system: package.sh TREE DIRECTORY
set -eu
tree=$1 packages=$2/packages
for program in dpkg-buildpackage dh lintian git; do
        command -v $program >/dev/null || { echo "NOT TESTED: there is no $program on this machine"; exit 77; }
done
rm -rf "$packages"
mkdir -p "$packages"
"$tree/systemd/package" "$packages" >"$packages/log" 2>&1 || { tail -50 "$packages/log"; exit 1; }
said=$(lintian --allow-root --tag-display-limit 0 "$packages"/bearerd_*.changes)
[ -z "$said" ] || { echo "$said"; exit 1; }
export PYTHONDONTWRITEBYTECODE=1
exec "$tree/tests/systemd/boot" "$tree" true python3 "$tree/tests/systemd/test_package.py" "$packages"/bearerd_*.deb
