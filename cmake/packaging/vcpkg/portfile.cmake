# SPDX-License-Identifier: MIT
#
# A port for vcpkg: copy this folder to <overlay>/scratch, set REPO and SHA512 of the release, and
#   vcpkg install scratch --overlay-ports=<overlay>
# SCRATCH_SOURCE in the environment takes a tree on this machine instead.
if(DEFINED ENV{SCRATCH_SOURCE})
  set(SOURCE_PATH "$ENV{SCRATCH_SOURCE}")
else()
  vcpkg_from_github(
    OUT_SOURCE_PATH SOURCE_PATH
    REPO "${SCRATCH_REPO}"
    REF "v${VERSION}"
    SHA512 "${SCRATCH_SHA512}"
    HEAD_REF main)
endif()

set(VCPKG_BUILD_TYPE release) # headers only
vcpkg_check_features(OUT_FEATURE_OPTIONS features FEATURES uring SCRATCH_WITH_URING)
vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS -DSCRATCH_BUILD_TESTS=OFF -DSCRATCH_BUILD_EXAMPLES=OFF -DSCRATCH_FETCH_DEPENDENCIES=OFF ${features})
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME scratch CONFIG_PATH share/cmake/scratch)
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/licenses")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
