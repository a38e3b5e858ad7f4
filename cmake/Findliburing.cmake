# SPDX-License-Identifier: MIT
#
# liburing::liburing. pkg-config says where and which version; without pkg-config the usual places are searched.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_liburing QUIET liburing)
endif()

find_path(liburing_INCLUDE_DIR liburing.h HINTS ${PC_liburing_INCLUDE_DIRS})
find_library(liburing_LIBRARY uring HINTS ${PC_liburing_LIBRARY_DIRS})
mark_as_advanced(liburing_INCLUDE_DIR liburing_LIBRARY)
set(liburing_VERSION "${PC_liburing_VERSION}")
if(NOT liburing_VERSION AND liburing_INCLUDE_DIR AND EXISTS "${liburing_INCLUDE_DIR}/liburing/io_uring_version.h")
  file(STRINGS "${liburing_INCLUDE_DIR}/liburing/io_uring_version.h" liburing_VERSION
       REGEX "#define IO_URING_VERSION_(MAJOR|MINOR) ")
  list(TRANSFORM liburing_VERSION REPLACE "[^0-9]+" "")
  list(JOIN liburing_VERSION "." liburing_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  liburing
  REQUIRED_VARS liburing_LIBRARY liburing_INCLUDE_DIR
  VERSION_VAR liburing_VERSION)

if(liburing_FOUND AND NOT TARGET liburing::liburing)
  add_library(liburing::liburing UNKNOWN IMPORTED)
  set_target_properties(
    liburing::liburing PROPERTIES IMPORTED_LOCATION "${liburing_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES
                                                                          "${liburing_INCLUDE_DIR}")
endif()
