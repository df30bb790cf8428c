# -DELUTQ_SANITIZE=address,undefined builds everything with those sanitizers (preset `asan`). What they find ends the program,
# so that a test can't pass over it. Needs compiler-rt (Debian: libclang-rt-22-dev).
set(ELUTQ_SANITIZE "" CACHE STRING "Comma-separated sanitizers, e.g. address,undefined")
if(ELUTQ_SANITIZE)
  add_compile_options(-fsanitize=${ELUTQ_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ELUTQ_SANITIZE})
endif()
