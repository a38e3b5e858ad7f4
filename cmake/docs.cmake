# SPDX-License-Identifier: MIT
#
# The target docs: the API reference in build/.../docs/html. Any warning is an error.
find_package(Doxygen)
if(NOT DOXYGEN_FOUND)
  message(FATAL_ERROR "The reference needs Doxygen:\n  apt-get install doxygen doxygen-awesome-css")
endif()
find_file(DOXYGEN_AWESOME_CSS doxygen-awesome.css PATH_SUFFIXES doxygen-awesome-css share/doxygen-awesome-css)
if(NOT DOXYGEN_AWESOME_CSS)
  set(DOXYGEN_AWESOME_CSS "")
endif()

configure_file(${CMAKE_CURRENT_LIST_DIR}/Doxyfile.in ${PROJECT_BINARY_DIR}/Doxyfile @ONLY)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/docs)
add_custom_target(
  docs
  COMMAND Doxygen::doxygen ${PROJECT_BINARY_DIR}/Doxyfile
  COMMENT "The reference: ${PROJECT_BINARY_DIR}/docs/html/index.html"
  VERBATIM)
