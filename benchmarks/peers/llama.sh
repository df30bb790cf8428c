#!/usr/bin/env bash
# llama.cpp, built from the source that the llama-cpp-python package carries, for side-by-side runs.
#   llama.sh build DIR                 build llama-bench into DIR (about 10 minutes on 2 cores)
#   llama.sh kernels DIR               build ggml-kernels (ggml_kernels.cpp), and llama-bench before it
#   llama.sh quantize DIR IN.gguf OUT.gguf TYPE THREADS
#                                      requantize the layers; embedding and head become f32. Builds llama-quantize and llama-perplexity
#   llama.sh perplexity DIR FILE.gguf TEXT WINDOW WINDOWS THREADS
#                                      its own measure, which counts the second half of each window
#   llama.sh model DIR FILE.gguf P N DEPTH REPEATS THREADS
#                                      prefill of P and decode of N tokens behind DEPTH others: one JSON array on stdout
set -euo pipefail
verb=${1:?verb} dir=${2:?dir}
case $verb in
build)
  [ -x "$dir/build/bin/llama-bench" ] && exit
  mkdir -p "$dir/src"
  cd "$dir"
  python3 -m pip download -q --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36 -d src
  tar xf src/llama_cpp_python-*.tar.gz -C src
  # Its AMX products end with SIGILL (a tile instruction in a thread that has configured none), so processors with AMX get all but that.
  features=(-DGGML_NATIVE=ON)
  if grep -qw amx_tile /proc/cpuinfo; then
    features=(-DGGML_NATIVE=OFF)
    for feature in SSE42 AVX AVX2 BMI2 FMA F16C AVX_VNNI AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16; do features+=("-DGGML_$feature=ON"); done
  fi
  cmake -S src/llama_cpp_python-*/vendor/llama.cpp -B build -G Ninja -DCMAKE_BUILD_TYPE=Release "${features[@]}" \
    -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=ON
  ninja -C build llama-bench ;;
kernels)
  "$0" build "$dir"
  source=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/ggml_kernels.cpp program=$dir/build/bin/ggml-kernels
  [ "$program" -nt "$source" ] && exit
  c++ -O2 -std=c++17 -I "$(echo "$dir"/src/llama_cpp_python-*/vendor/llama.cpp/ggml/include)" "$source" -o "$program" \
    -L "$dir/build/bin" -lggml-cpu -lggml-base -Wl,-rpath,'$ORIGIN' ;;
quantize)
  "$0" build "$dir" >&2
  ninja -C "$dir/build" llama-quantize llama-perplexity >&2
  "$dir/build/bin/llama-quantize" --allow-requantize --token-embedding-type f32 --output-tensor-type f32 "${3:?file}" "${4:?file}" "${5:?type}" \
    "${6:?threads}" >&2 ;;
perplexity)
  "$dir/build/bin/llama-perplexity" -m "${3:?file}" -f "${4:?text}" -c "${5:?tokens}" -b "$5" --chunks "${6:?number}" -t "${7:?threads}" 2>&1 ;;
model)
  # The warm-up is as long as a measurement: what is measured once, in several rounds, goes without.
  [ "${7:?number}" -gt 1 ] && warmup=() || warmup=(--no-warmup)
  "$dir/build/bin/llama-bench" "${warmup[@]}" -m "${3:?file}" -p "${4:?tokens}" -n "${5:?tokens}" -d "${6:?tokens}" -r "$7" -t "${8:?number}" \
    -o json ;;
*) echo "llama.sh: unknown verb '$verb' (build, kernels, quantize, perplexity, model)" >&2; exit 2 ;;
esac
