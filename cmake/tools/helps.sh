# SPDX-License-Identifier: MIT
#
# Sourced: `helps <program>` prints its --help, and that of each of its subcommands behind a line "@ <subcommand>".
helps() {
  "$1" --help
  for command in $("$1" --help | sed -n '/^Subcommands:$/,/^$/s/^  \([a-z]*\)  .*/\1/p'); do
    echo "@ $command"
    "$1" "$command" --help
  done
}
