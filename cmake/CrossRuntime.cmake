# -DELUTQ_RUNTIME_TARGETS=aarch64 also builds the runtime for that processor, into lib/elutq/<processor>, where elutq-compile
# looks for it. Its libraries are in <ELUTQ_DEPS_DIR>/<processor>: `scripts/setup --target aarch64` puts them there.
include(ExternalProject)
set(ELUTQ_RUNTIME_TARGETS "" CACHE STRING "Further processors to build the runtime for: aarch64")

foreach(processor ${ELUTQ_RUNTIME_TARGETS})
  if(NOT processor STREQUAL "aarch64")
    message(FATAL_ERROR "ELUTQ_RUNTIME_TARGETS: expected aarch64, but got '${processor}'")
  endif()
  if(NOT EXISTS ${ELUTQ_DEPS_DIR}/${processor}/usr/include/pcre2.h)
    message(FATAL_ERROR "no libraries for ${processor} in ${ELUTQ_DEPS_DIR}/${processor}; scripts/setup --target ${processor} "
      "puts them there")
  endif()
  ExternalProject_Add(elutq-runtime-${processor}
    SOURCE_DIR ${PROJECT_SOURCE_DIR}/runtime/cross
    BINARY_DIR ${PROJECT_BINARY_DIR}/runtime/${processor}
    PREFIX ${PROJECT_BINARY_DIR}/runtime/${processor}-steps
    CMAKE_ARGS
      -DCMAKE_TOOLCHAIN_FILE=${PROJECT_SOURCE_DIR}/cmake/AArch64Linux.cmake
      -DCMAKE_FIND_ROOT_PATH=${ELUTQ_DEPS_DIR}/${processor}
      -DCMAKE_C_COMPILER=${CMAKE_C_COMPILER}
      -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
      -DCMAKE_C_COMPILER_LAUNCHER=${CMAKE_C_COMPILER_LAUNCHER}
      -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER}
      -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}
      -DCMAKE_CXX_FLAGS=${CMAKE_CXX_FLAGS}
      -DCMAKE_ARCHIVE_OUTPUT_DIRECTORY=${PROJECT_BINARY_DIR}/lib/elutq/${processor}
      -DELUTQ_WERROR=${ELUTQ_WERROR}
    # Its own dependencies tell what is out of date.
    BUILD_ALWAYS ON
    INSTALL_COMMAND "")
endforeach()
