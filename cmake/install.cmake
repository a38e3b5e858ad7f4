# SPDX-License-Identifier: MIT
#
# What `cmake --install` puts down: headers, the CMake package, two pkg-config files and the licence, all of them the
# component `scratch`. Nothing in it depends on the machine that built it, nor on where it is put.
#
# In somebody else's project it is installed when that is asked for: with SCRATCH_INSTALL, or as a component. That
# project's own targets can be installed and exported either way; who uses them then has to find scratch.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(scratch_cmake_dir ${CMAKE_INSTALL_DATADIR}/cmake/scratch)
set(scratch_pc_dir ${CMAKE_INSTALL_DATADIR}/pkgconfig)
set(scratch_component COMPONENT scratch)
if(NOT SCRATCH_INSTALL)
  list(APPEND scratch_component EXCLUDE_FROM_ALL)
endif()

install(TARGETS scratch EXPORT scratchTargets FILE_SET HEADERS ${scratch_component})
install(EXPORT scratchTargets NAMESPACE scratch:: DESTINATION ${scratch_cmake_dir} ${scratch_component})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/scratchConfig.cmake.in ${PROJECT_BINARY_DIR}/scratchConfig.cmake
                              INSTALL_DESTINATION ${scratch_cmake_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/scratchConfigVersion.cmake COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/scratchConfig.cmake ${PROJECT_BINARY_DIR}/scratchConfigVersion.cmake
              cmake/scratchUring.cmake cmake/scratchXxhash.cmake cmake/Findliburing.cmake cmake/FindxxHash.cmake
        DESTINATION ${scratch_cmake_dir} ${scratch_component})

file(RELATIVE_PATH scratch_pc_to_include /prefix/${scratch_pc_dir} /prefix/${CMAKE_INSTALL_INCLUDEDIR})
foreach(pc IN ITEMS scratch scratch-uring)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${pc}.pc.in ${PROJECT_BINARY_DIR}/${pc}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${pc}.pc DESTINATION ${scratch_pc_dir} ${scratch_component})
endforeach()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/scratch ${scratch_component})
