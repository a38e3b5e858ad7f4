# SPDX-License-Identifier: MIT
#
# xxHash_INCLUDE_DIR: where xxhash.h is.
find_path(xxHash_INCLUDE_DIR xxhash.h)
mark_as_advanced(xxHash_INCLUDE_DIR)

if(xxHash_INCLUDE_DIR)
  file(STRINGS "${xxHash_INCLUDE_DIR}/xxhash.h" xxHash_VERSION REGEX "#define XXH_VERSION_(MAJOR|MINOR|RELEASE) ")
  list(TRANSFORM xxHash_VERSION REPLACE "[^0-9]+" "")
  list(JOIN xxHash_VERSION "." xxHash_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(xxHash REQUIRED_VARS xxHash_INCLUDE_DIR VERSION_VAR xxHash_VERSION)
