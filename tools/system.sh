#!/bin/sh
# Installs the system's part of what the simulations need, where it is missing. Asks nothing.
set -eu
missing=""
command -v iverilog > /dev/null || missing="$missing iverilog"
command -v g++ > /dev/null || missing="$missing g++"
command -v make > /dev/null || missing="$missing make"
command -v perl > /dev/null || missing="$missing perl"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
    echo "Missing:$missing. Install them (Debian: apt-get install$missing) and try again." >&2
    exit 1
fi
echo "Installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # a list of names
apt-get update -qq > /dev/null && apt-get install -y -qq $missing > /dev/null
