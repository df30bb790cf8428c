# -DELUTQ_SANITIZE=address,undefined builds everything with those sanitizers (preset `asan`).
set(ELUTQ_SANITIZE "" CACHE STRING "Comma-separated sanitizers, e.g. address,undefined")
if(ELUTQ_SANITIZE)
  add_compile_options(-fsanitize=${ELUTQ_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ELUTQ_SANITIZE})
endif()
