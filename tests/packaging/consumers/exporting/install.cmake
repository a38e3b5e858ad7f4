# SPDX-License-Identifier: MIT
#
# Installs the project in SOURCE, which has no word of installing scratch: not even its headers are there then. Installs
# those as a component, and builds and runs a program that finds the project.
set(prefix ${BUILD}-installed)
file(REMOVE_RECURSE ${BUILD} ${BUILD}-program ${prefix})
macro(run)
  execute_process(COMMAND ${ARGN} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endmacro()
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${BUILD} ${OPTIONS})
run(${CMAKE_COMMAND} --build ${BUILD})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
if(EXISTS ${prefix}/include/scratch)
  message(FATAL_ERROR "scratch was installed, and nobody asked for it")
endif()
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix} --component scratch)
run(${CMAKE_COMMAND} -S ${SOURCE}/program -B ${BUILD}-program ${OPTIONS} -DCMAKE_PREFIX_PATH=${prefix} -DSCRATCH_WITH_URING=OFF)
run(${CMAKE_COMMAND} --build ${BUILD}-program)
run(${BUILD}-program/program)
