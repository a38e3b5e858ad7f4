#!/bin/sh
# SPDX-License-Identifier: MIT
#
# with_python.sh <script> ...: runs it, or says that there is no Python.
command -v python3 >/dev/null || { echo "skipped: there is no python3"; exit 77; }
exec python3 -B "$@"
