# SPDX-License-Identifier: MIT
#
# What `cmake --install` puts down: headers, the CMake package, and two pkg-config files. Nothing in it depends on the
# machine that built it, nor on where it is put.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(scratch_cmake_dir ${CMAKE_INSTALL_DATADIR}/cmake/scratch)
set(scratch_pc_dir ${CMAKE_INSTALL_DATADIR}/pkgconfig)

install(TARGETS scratch EXPORT scratchTargets FILE_SET HEADERS)
install(EXPORT scratchTargets NAMESPACE scratch:: DESTINATION ${scratch_cmake_dir})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/scratchConfig.cmake.in scratchConfig.cmake
                              INSTALL_DESTINATION ${scratch_cmake_dir})
write_basic_package_version_file(scratchConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/scratchConfig.cmake ${PROJECT_BINARY_DIR}/scratchConfigVersion.cmake
              cmake/scratchUring.cmake cmake/Findliburing.cmake cmake/FindxxHash.cmake
        DESTINATION ${scratch_cmake_dir})

file(RELATIVE_PATH scratch_pc_to_include /prefix/${scratch_pc_dir} /prefix/${CMAKE_INSTALL_INCLUDEDIR})
foreach(pc IN ITEMS scratch scratch-uring)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${pc}.pc.in ${pc}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${pc}.pc DESTINATION ${scratch_pc_dir})
endforeach()
