#!/bin/sh
# SPDX-License-Identifier: MIT
#
# defects.sh <source tree> [page]: each row of tests/defects.md has a test, and each test that it names is there.
set -eu
source=$1
page=${2:-$source/tests/defects.md}
failed=0
grep '^| ' "$page" | grep -v '^| what happens | found by |$' | grep -vE '^\| [^|]* \| (`[a-z0-9_/]+: [^`]+`(, )?)+ \|$' &&
  { echo "FAILED: these are no rows of a defect and its tests"; failed=1; }
"$source/tests/house/readme/named_tests.sh" "$source" "$page" | grep -v '^ok' && failed=1
exit "$failed"
