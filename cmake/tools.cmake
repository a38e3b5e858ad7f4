# SPDX-License-Identifier: MIT
#
# With SCRATCH_INSTALL_TOOLS, what `cmake --install build --component tools` puts down: the programs, a man page each
# (the target man; help2man makes them) and completion for bash, both made from what the programs say to --help. The
# target tools is all of it.
if(NOT SCRATCH_BUILD_EXAMPLES)
  message(FATAL_ERROR "SCRATCH_INSTALL_TOOLS installs programs that are examples: leave out -DSCRATCH_BUILD_EXAMPLES=OFF")
endif()
set(tools kmer_frequency external_sort table_export table_export_reader scratchctl)
foreach(tool IN ITEMS kmer_frequency_mpi external_sort_mpi)
  if(TARGET ${tool})
    list(APPEND tools ${tool})
  endif()
endforeach()
install(TARGETS ${tools} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)

find_program(HELP2MAN help2man)
mark_as_advanced(HELP2MAN)
if(NOT HELP2MAN)
  message(STATUS "scratch: the tools are installed without man pages, which need help2man (Debian: help2man)")
endif()

set(scripts ${CMAKE_CURRENT_LIST_DIR}/tools)
set(made ${PROJECT_BINARY_DIR}/tools)
file(MAKE_DIRECTORY ${made}/man ${made}/completions)
set(pages "")
set(completions "")
foreach(tool IN LISTS tools)
  set(completion ${made}/completions/${tool})
  add_custom_command(
    OUTPUT ${completion}
    COMMAND sh ${scripts}/completion.sh $<TARGET_FILE:${tool}> ${completion}
    DEPENDS ${tool} ${scripts}/completion.sh ${scripts}/helps.sh
    COMMENT "Completion of ${tool}"
    VERBATIM)
  list(APPEND completions ${completion})
  if(HELP2MAN)
    set(page ${made}/man/${tool}.1)
    add_custom_command(
      OUTPUT ${page}
      COMMAND sh ${scripts}/man.sh ${HELP2MAN} ${PROJECT_VERSION} $<TARGET_FILE:${tool}> ${page}
      DEPENDS ${tool} ${scripts}/man.sh ${scripts}/page.awk ${scripts}/helps.sh
      COMMENT "Man page of ${tool}"
      VERBATIM)
    list(APPEND pages ${page})
  endif()
endforeach()
add_custom_target(man ALL DEPENDS ${pages})
add_custom_target(tools ALL DEPENDS ${tools} ${completions})
add_dependencies(tools man)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT tools)
install(FILES ${completions} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT tools)
