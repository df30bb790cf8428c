"""Configuration of the lit suite. The folders mirror lib/; every file is one subject."""

import os
import platform

import lit.formats
import lit.util

config.name = "ELUTQ"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".onnxtxt", ".test"]
config.excludes = ["Inputs", "lib", "python", "lit.cfg.py", "lit.site.cfg.py"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.elutq_binary_dir, "test")

for directory in [config.llvm_tools_dir, os.path.join(config.elutq_binary_dir, "bin")]:
    config.environment["PATH"] = os.pathsep.join([directory, config.environment["PATH"]])
config.environment["FILECHECK_OPTS"] = "-enable-var-scope -dump-input-filter=error"
config.environment["PYTHONPATH"] = os.path.join(config.elutq_source_dir, "python")

config.substitutions.append(("%python", config.python_executable))
config.substitutions.append(("%elutq_src", config.elutq_source_dir))
config.substitutions.append(("%elutq_build", config.elutq_binary_dir))
config.substitutions.append(("%mlir_libs", config.llvm_lib_dir))
config.substitutions.append(("%deps", config.elutq_deps_dir))
config.substitutions.append(("%other_arch", "x86_64" if platform.machine() == "aarch64" else "aarch64"))

# ELUTQ_CHECK_ROUNDTRIP=1 makes every test print and parse its input, too.
if os.environ.get("ELUTQ_CHECK_ROUNDTRIP"):
    config.substitutions.append((r"\belutq-opt\b", "elutq-opt --verify-roundtrip"))


def host_cpu_flags():
    """The flags line of /proc/cpuinfo, in the kernel's spelling."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            for line in cpuinfo:
                if line.startswith(("flags", "Features")):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


flags = host_cpu_flags()
if platform.machine() == "x86_64":
    config.available_features.add("host-x86_64")
    if {"avx2", "fma", "f16c"} <= flags:
        config.available_features.add("host-avx2")
        if {"avx512bw", "avx512vl"} <= flags:
            config.available_features.add("host-avx512bw")
            if {"avx512vbmi", "avx512_vnni"} <= flags:
                config.available_features.add("host-avx512vbmi")
elif platform.machine() == "aarch64":
    config.available_features.add("host-neon")
if lit.util.which("qemu-aarch64") and lit.util.which("aarch64-linux-gnu-gcc"):
    config.available_features.add("qemu-aarch64")
for tool in ["elutq-compile", "mlir-runner", "llvm-mca"]:
    if lit.util.which(tool, config.environment["PATH"]):
        config.available_features.add(tool)
