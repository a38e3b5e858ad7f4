# SPDX-License-Identifier: MIT
#
# Sourced: `need <package> ...` installs the Debian packages that are missing. It asks dpkg first, so that a second run is
# instant and offline. Without root it prints the line to type and ends with 3; SCRATCH_NO_INSTALL=1 forbids installing.
need() {
  missing=
  for package in "$@"; do
    # Where no dpkg is, what counts is whether the build finds things.
    command -v dpkg-query >/dev/null 2>&1 || return 0
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "${SCRATCH_NO_INSTALL:-0}" = 1 ] || [ "$(id -u)" != 0 ]; then
    printf 'These packages are missing. Type, as root:\n  apt-get install --no-install-recommends%s\n' "$missing" >&2
    exit 3
  fi
  printf 'installing:%s\n' "$missing" >&2
  # shellcheck disable=SC2086
  install_missing() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2; }
  install_missing 2>/dev/null || { apt-get update -qq >&2 && install_missing; } || {
    printf 'Could not install:%s\n' "$missing" >&2
    exit 3
  }
}

# What any build of the library needs.
need_build() { need g++ cmake ninja-build pkg-config nlohmann-json3-dev libxxhash-dev liburing-dev "$@"; }
