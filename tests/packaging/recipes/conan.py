# SPDX-License-Identifier: MIT
"""conan.py SOURCE BUILD CMAKE: runs the steps of the recipe, with what Conan gives a recipe played by the stand-ins below."""
import os
import shutil
import subprocess
import sys
import types

source, build, cmake = sys.argv[1:4]
shutil.rmtree(build, ignore_errors=True)
os.makedirs(build)
sys.dont_write_bytecode = True


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made


class ConanFile:
    def __init__(self):
        self.required = []
        self.requires = lambda reference, **traits: self.required.append(reference)
        self.options = types.SimpleNamespace(**type(self).default_options)
        self.export_sources_folder = os.path.join(build, "sources")
        self.package_folder = os.path.join(build, "package")
        self.info = types.SimpleNamespace(clear=lambda: None)
        self.cpp_info = types.SimpleNamespace(set_property=lambda name, value: None)


def copy(conanfile, pattern, src, dst):
    """As Conan's: the pattern's folders are kept, and * also stands for a slash."""
    folder = pattern[:-2] if pattern.endswith("/*") else None
    if folder:
        shutil.copytree(os.path.join(src, folder), os.path.join(dst, folder), dirs_exist_ok=True)
    else:
        os.makedirs(dst, exist_ok=True)
        shutil.copy(os.path.join(src, pattern), dst)


class CMakeToolchain:
    def __init__(self, conanfile):
        self.conanfile, self.cache_variables = conanfile, {}

    def generate(self):
        self.conanfile.cache_variables = self.cache_variables


class CMakeDeps:
    def __init__(self, conanfile):
        pass

    def generate(self):
        pass


class CMake:
    def __init__(self, conanfile):
        self.conanfile = conanfile

    def configure(self):
        spelled = {True: "ON", False: "OFF"}
        options = [f"-D{name}={spelled.get(value, value)}" for name, value in self.conanfile.cache_variables.items()]
        run("-S", self.conanfile.export_sources_folder, "-B", os.path.join(build, "build"),
            "-DCMAKE_FIND_PACKAGE_PREFER_CONFIG=ON", *options)

    def install(self):
        run("--install", os.path.join(build, "build"), "--prefix", self.conanfile.package_folder)


def run(*arguments):
    subprocess.run([cmake, *arguments], check=True, stdout=subprocess.DEVNULL)


module("conan", ConanFile=ConanFile)
module("conan.tools")
module("conan.tools.build", check_min_cppstd=lambda conanfile, version: None)
module("conan.tools.cmake", CMake=CMake, CMakeDeps=CMakeDeps, CMakeToolchain=CMakeToolchain)
module("conan.tools.files", copy=copy, load=lambda conanfile, path: open(path, encoding="utf-8").read())

sys.path.insert(0, os.path.join(source, "cmake", "packaging", "conan"))
from conanfile import Scratch  # noqa: E402

recipe = Scratch()
recipe.options.uring = False
recipe.set_version()
recipe.export_sources()
recipe.requirements()
recipe.validate()
recipe.generate()
recipe.build()
recipe.package()
recipe.package_id()
recipe.package_info()
assert recipe.version.count(".") == 2, recipe.version
assert len(recipe.required) == 2, recipe.required
config = os.path.join(recipe.package_folder, "share", "cmake", "scratch")
assert os.path.exists(os.path.join(config, "scratchConfig.cmake"))
run("-S", os.path.join(source, "tests", "packaging", "recipes", "finding"), "-B", os.path.join(build, "finding"),
    f"-Dscratch_DIR={config}", "-DSCRATCH_WITH_URING=OFF")
run("--build", os.path.join(build, "finding"))
