# SPDX-License-Identifier: MIT
#
# Runs the steps of the port on SOURCE, with what vcpkg gives a port played by the functions below.
set(port ${SOURCE}/cmake/packaging/vcpkg)
set(CURRENT_PACKAGES_DIR ${BUILD}/packages)
file(REMOVE_RECURSE ${BUILD})

function(vcpkg_check_features)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "FEATURES")
  list(GET arg_FEATURES 1 option)
  set(${arg_OUT_FEATURE_OPTIONS} -D${option}=OFF PARENT_SCOPE)
endfunction()
function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${BUILD}/build -G ${GENERATOR} -DCMAKE_BUILD_TYPE=Release
            -DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR} ${arg_OPTIONS}
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endfunction()
function(vcpkg_cmake_install)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD}/build --target install OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endfunction()
# Moves the CMake package to where vcpkg looks, one folder up, which its files are told.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "PACKAGE_NAME;CONFIG_PATH" "")
  file(RENAME ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH} ${CURRENT_PACKAGES_DIR}/share/${arg_PACKAGE_NAME})
  file(REMOVE_RECURSE ${CURRENT_PACKAGES_DIR}/share/cmake)
  set(up "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
  set(targets ${CURRENT_PACKAGES_DIR}/share/${arg_PACKAGE_NAME}/${arg_PACKAGE_NAME}Targets.cmake)
  file(READ ${targets} text)
  string(REPLACE "${up}${up}${up}" "${up}${up}" text "${text}")
  file(WRITE ${targets} "${text}")
endfunction()
function(vcpkg_fixup_pkgconfig)
  file(RENAME ${CURRENT_PACKAGES_DIR}/share/pkgconfig ${CURRENT_PACKAGES_DIR}/lib-pkgconfig)
endfunction()
function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  file(COPY_FILE ${arg_FILE_LIST} ${CURRENT_PACKAGES_DIR}/share/scratch/copyright)
endfunction()

file(STRINGS ${SOURCE}/include/scratch/version.hpp version REGEX "#define SCRATCH_VERSION_(MAJOR|MINOR|PATCH) ")
list(TRANSFORM version REPLACE "[^0-9]+" "")
list(JOIN version "." version)
file(READ ${port}/vcpkg.json manifest)
string(JSON said GET "${manifest}" version)
if(NOT said STREQUAL version)
  message(FATAL_ERROR "the port is of ${said}, the library is ${version}")
endif()

set(ENV{SCRATCH_SOURCE} ${SOURCE})
include(${port}/portfile.cmake)
foreach(file IN ITEMS include/scratch/scratch.hpp share/scratch/scratchConfig.cmake share/scratch/copyright)
  if(NOT EXISTS ${CURRENT_PACKAGES_DIR}/${file})
    message(FATAL_ERROR "${file} is not in the package")
  endif()
endforeach()
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${SOURCE}/tests/packaging/recipes/finding -B ${BUILD}/finding -G ${GENERATOR}
          -Dscratch_DIR=${CURRENT_PACKAGES_DIR}/share/scratch -DSCRATCH_WITH_URING=OFF OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD}/finding OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
