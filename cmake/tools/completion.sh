#!/bin/sh
# SPDX-License-Identifier: MIT
#
# completion.sh <program> <file to make>: completion for bash, of subcommands, of each one's options, and of the values
# that an option names. Elsewhere bash completes the names of files, and behind -- what it completes for the command there.
set -eu
. "$(dirname "$0")/helps.sh"
text=$(helps "$1")
printf '%s\n' "$text" | awk -v name="$(basename "$1")" '
/^@ / { command = $2; commands = commands " " command; section = 0; next }
/^$/ { section = 0 }
/^[^ ].*:$/ { section = 1 }
section && /^  -/ {
  texts = $0
  sub(/^ +/, "", texts)
  sub(/  .*/, "", texts)
  count = split(texts, word, /,? /)
  option = ""
  for (i = 1; i <= count && word[i] ~ /^-/; ++i) {
    options[command] = options[command] " " word[i]
    option = option (option == "" ? "" : " | ") "\"" (command == "" ? "" : command " ") word[i] "\""
  }
  values = i <= count ? word[i] : ""
  if (values ~ /{.*}/) { sub(/.*{/, "", values); sub(/}.*/, "", values); gsub(/,/, " ", values) }
  else if (values ~ /^[a-zA-Z]+(\|[a-zA-Z]+)+/) { sub(/[=:].*/, "", values); gsub(/\|?[A-Z]+/, "", values); gsub(/\|/, " ", values) }
  else values = ""
  if (values != "") cases = cases "    " option ") words=\"" values "\" ;;\n"
}
END {
  print "# bash completion for " name ", made from its --help\n_" name "() {"
  print "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= words= i"
  print "  COMPREPLY=()"
  print "  for ((i = 1; i < COMP_CWORD; ++i)); do"
  print "    case ${COMP_WORDS[i]} in"
  print "      --)"
  print "        declare -F _command_offset >/dev/null && _command_offset $((i + 1))"
  print "        return"
  print "        ;;"
  if (commands != "") {
    known = substr(commands, 2)
    gsub(/ /, " | ", known)
    print "      " known ") [ -n \"$command\" ] || command=\"${COMP_WORDS[i]} \" ;;"
  }
  print "    esac\n  done"
  if (cases != "") print "  case $command$before in\n" cases "  esac"
  print "  if [ -z \"$words\" ]; then\n    case $command in"
  for (of in options)
    print "      " (of == "" ? "\"\"" : "\"" of " \"") ") words=\"" substr(options[of], 2) (of == "" ? commands : "") "\" ;;"
  print "    esac"
  print "    [[ $current == -* || -z $command && -n \"" substr(commands, 2) "\" ]] || words="
  print "  fi"
  print "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")"
  print "}\ncomplete -o bashdefault -o default -F _" name " " name
}' >"$2.new"
mv "$2.new" "$2"
