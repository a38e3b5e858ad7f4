# SPDX-License-Identifier: MIT
#
# Puts what a program and its subcommands say to --help into the order that help2man makes a page of: all usages, the
# options, each subcommand with its own, notes, exit status, and the examples of all of them last. Reads the help of
# the program, and after a line "@ <subcommand>" that of each subcommand.
function flush_help(   i, at, section, footer, text) {
  body = tail = ""
  at = 1
  while (at <= n && line[at] !~ /^Usage: /) text = text line[at++] "\n"
  description = text
  usage = line[at++]
  sub(/^Usage: /, "", usage)
  for (i = at; i <= n; ++i) {
    text = line[i]
    if (section && text == "") section = 0
    if (!footer && text ~ /^[^ ].*:$/ && text != "Examples:") section = 1
    else if (text != "" && !section) footer = 1
    if (!footer) {
      if (text == "Subcommands:") text = "*Commands*\n"
      if (command != "" && text ~ /^(Positionals|Options):$/) text = ""
      body = body text "\n"
      continue
    }
    if (text ~ /^Examples:?$/) {
      while (i < n && line[i + 1] ~ /^  /) examples = examples "  $ " substr(line[++i], 3) "\n"
      continue
    }
    if (text ~ /^(Ends with [03]|check ends with 3|Exit codes:)/) tail = tail "\n*Exit status*\n"
    if (text ~ /^[A-Z]+: /) tail = tail "\n"
    if (text ~ /^[^ ].*[^ .:]$/ && line[i + 1] ~ /^  [^ ]/ && line[i - 1] == "") text = text ":"
    sub(/^       +/, "", text)
    tail = tail text "\n"
  }
  if (command == "") {
    usages = "Usage: " usage
    about = description
    options = body
    notes = tail
  } else {
    usages = usages "\n  or:  " usage
    commands = commands "\n*command " command "*\n\n" description "\n" body
  }
  n = 0
}
/^@ / { flush_help(); command = $2; next }
{ line[++n] = $0 }
END {
  flush_help()
  print usages "\n\n" about "\n" options "\n" commands "\n*Notes*\n\n" notes "\nExamples:\n" examples
}
