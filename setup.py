"""The native kernel; everything else about this package stands in pyproject.toml.

Environment:
    LATENTSTORE_REQUIRE_KERNEL=1            a kernel that does not compile is an error (releases, CI)
    LATENTSTORE_SANITIZE=address,undefined  builds the kernel with these sanitizers, for the fuzzers
"""

import os
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError, LinkError

COMPILE = [
    "-std=c11",
    "-O3",
    # Fused multiply-adds would make the transform's last bit depend on the machine.
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    # Never -march: the kernel holds one variant of its loops per vector width and chooses when it is loaded.
]
LINK: list[str] = []
if sanitizers := os.environ.get("LATENTSTORE_SANITIZE"):
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g"]
    COMPILE += [*flags, "-O0"]  # optimised, the checks in the coder take the compiler minutes
    LINK += flags

WARNING = """
******************************************************************************************************
latentstore: THE NATIVE KERNEL WAS NOT BUILT ({reason}).
The package installs all the same and decodes the same bytes, in Python, HUNDREDS OF TIMES SLOWER.
Install a C compiler (gcc or clang) and install latentstore again; `latentstore info` shows which one runs.
******************************************************************************************************
"""


class BuildKernel(build_ext):
    """Compiles files side by side. Goes on without the kernel where there is no working compiler, and says so."""

    def build_extension(self, ext: Extension) -> None:
        one_by_one = self.compiler.compile

        def side_by_side(sources: list[str], **options: object) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return [name for [name] in pool.map(lambda source: one_by_one([source], **options), sources)]

        self.compiler.compile = side_by_side
        try:
            super().build_extension(ext)
        except (BaseError, CompileError, LinkError) as error:
            if os.environ.get("LATENTSTORE_REQUIRE_KERNEL") == "1":
                ext.optional = False
            else:
                print(WARNING.format(reason=error), file=sys.stderr, flush=True)
            raise  # setuptools passes over a failed extension that is optional


# The limited API gives one wheel per platform for every Python from 3.11; free-threaded ones do not have it.
limited = not sysconfig.get_config_var("Py_GIL_DISABLED")
sources = sorted(map(str, Path("codecs/kernel").rglob("*.c")))
kernel = Extension(
    "latentstore.codecs._kernel",
    sources=sources,
    depends=sorted(map(str, Path("codecs/kernel").rglob("*.h"))),
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if limited else [],
    py_limited_api=limited,
    include_dirs=["codecs/kernel"],
    extra_compile_args=COMPILE,
    extra_link_args=LINK,
    optional=True,
)
# The folders at the top, and the import packages they are.
ROOTS = {"latentstore": "latentstore", "codecs": "latentstore.codecs", "loaders": "latentstore.loaders"}


def packages() -> list[str]:
    """Every folder that is a package."""
    found = []
    for folder, name in ROOTS.items():
        for init in sorted(Path(folder).rglob("__init__.py")):
            found.append(".".join([name, *init.parent.relative_to(folder).parts]))
    return found


setup(
    packages=packages(),
    ext_modules=[kernel] if sources else [],
    cmdclass={"build_ext": BuildKernel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if sources and limited else {},
)
