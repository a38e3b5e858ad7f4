# SPDX-License-Identifier: MIT
#
# program_ranks: what programs of several machines share; see README.md. Where MPI is not found there is none of them.
include_guard(GLOBAL)
find_package(MPI QUIET COMPONENTS CXX)
if(NOT MPI_CXX_FOUND)
  message(STATUS "MPI was not found: the programs of several machines are not built (Debian: libopenmpi-dev)")
  return()
endif()
add_library(program_ranks INTERFACE)
target_include_directories(program_ranks SYSTEM INTERFACE ${MPI_CXX_INCLUDE_DIRS})
target_compile_definitions(program_ranks INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
target_link_libraries(program_ranks INTERFACE program_support ${MPI_CXX_LIBRARIES})
