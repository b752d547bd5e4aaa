"""Compiles what a request of ASGI passes through.

HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 asks for it, as `make wheel` does. What is compiled is each file
that has a `.pxd` beside it, which gives its classes a layout in C; else the same is interpreted.

Only one interpreter of a process can import what is compiled. In a second one, such as mod_wsgi and
uWSGI make for a second application, the import of a door is an ImportError that says so.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What annotations say is for mypy: they must not make a request fail that Python would serve.
# What lacks its core raises an AttributeError, as there: unchecked, None is read as a structure.
DIRECTIVES = {"annotation_typing": False, "binding": True, "nonecheck": True}


class Compiled(BuildHookInterface):
    """Put the extension modules into the wheel, beside their sources; the tree stays as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tell hatchling what to include."""
        if version == "editable":  # what is imported then is the source, beside which is nothing
            return
        # Of `self`, for as long as hatchling reads from it.
        self.scratch = tempfile.TemporaryDirectory(prefix="prom_middleware")
        source, target = Path(self.root, "src"), Path(self.scratch.name)
        _compile(source, target)
        build_data["pure_python"], build_data["infer_tag"] = False, True
        for built in (target / "lib").rglob("*.so"):
            build_data["force_include"][str(built)] = str(built.relative_to(target / "lib"))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled, now that it is in the wheel."""
        if version != "editable":
            self.scratch.cleanup()


def _compile(source: Path, target: Path) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    hot = [path.with_suffix(".py").relative_to(source) for path in sorted(source.rglob("*.pxd"))]
    extensions = cythonize(
        [
            Extension(
                ".".join(path.with_suffix("").parts),
                [str(source / path)],
                # Without what debuggers read: that is most of it, and names the scratch directory.
                extra_compile_args=["-g0"],
            )
            for path in hot
        ],
        build_dir=str(target),
        include_path=[str(source)],
        language_level=3,
        compiler_directives=DIRECTIVES,
    )
    build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(target / "lib"), str(target / "temp")
    build.ensure_finalized()
    build.run()
