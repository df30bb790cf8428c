//===- kernel_server.cpp - Call functions of a shared library by pipe -----===//
//
// Part of the ELUTQ project, under the Apache License v2.0.
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//
//
// Started once per library under an emulator: kernel_server LIBRARY. A request on standard input is a name (u32 length,
// text), a count of arrays (u32), their sizes (u64 each) and their bytes; the answer on standard output is the bytes of
// all arrays after the call.
//
//===----------------------------------------------------------------------===//

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

static void fail(const char *what) {
  std::fprintf(stderr, "kernel_server: %s\n", what);
  std::exit(1);
}

/// False at the end of the input.
static bool readBytes(void *data, size_t bytes) {
  size_t done = std::fread(data, 1, bytes, stdin);
  if (done != bytes && done != 0)
    fail("the request ends early");
  return done == bytes;
}

template <typename T>
static T readNumber() {
  T value;
  if (!readBytes(&value, sizeof value))
    fail("the request ends early");
  return value;
}

namespace {
/// An array at a 64-byte boundary, behind whose last line of 64 bytes no memory is.
class Array {
public:
  explicit Array(size_t bytes) : bytes(bytes) {
    size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_t lines = (bytes + 63) / 64 * 64;
    mapped = (lines + page - 1) / page * page + page;
    void *memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
      fail("no memory");
    base = static_cast<char *>(memory);
    if (mprotect(base + mapped - page, page, PROT_NONE) != 0)
      fail("cannot protect a page");
    data = base + mapped - page - lines;
  }
  Array(const Array &) = delete;
  ~Array() { munmap(base, mapped); }

  char *data;
  const size_t bytes;

private:
  char *base;
  size_t mapped;
};
} // namespace

int main(int argc, char **argv) {
  void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : nullptr;
  if (!library)
    fail(argc == 2 ? dlerror() : "expected one library");
  for (uint32_t length; readBytes(&length, sizeof length);) {
    std::string name(length, '\0');
    readBytes(name.data(), length);
    std::vector<uint64_t> sizes(readNumber<uint32_t>());
    for (uint64_t &size : sizes)
      size = readNumber<uint64_t>();
    std::vector<Array *> arrays;
    for (uint64_t size : sizes) {
      arrays.push_back(new Array(size));
      readBytes(arrays.back()->data, size);
    }
    void *function = dlsym(library, name.c_str());
    if (!function)
      fail(dlerror());
    // AArch64 passes eight pointers in registers, of which a function reads as many as it has parameters.
    if (arrays.empty() || arrays.size() > 8)
      fail("expected 1 to 8 arrays");
    void *p[8] = {};
    for (size_t i = 0; i < arrays.size(); ++i)
      p[i] = arrays[i]->data;
    using Kernel = void (*)(void *, void *, void *, void *, void *, void *, void *, void *);
    reinterpret_cast<Kernel>(function)(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
    for (Array *array : arrays) {
      std::fwrite(array->data, 1, array->bytes, stdout);
      delete array;
    }
    std::fflush(stdout);
  }
  return 0;
}
