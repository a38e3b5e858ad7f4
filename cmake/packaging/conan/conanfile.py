# SPDX-License-Identifier: MIT
"""A recipe for Conan 2: `conan create cmake/packaging/conan` from the root of the repository."""
import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain
from conan.tools.files import copy, load

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")


class Scratch(ConanFile):
    name = "scratch"
    description = "Session-scoped scratch files for C++20 on Linux"
    license = "MIT"
    package_type = "header-library"
    settings = "os", "compiler", "build_type", "arch"
    options = {"uring": [True, False]}
    default_options = {"uring": True}

    def set_version(self):
        text = load(self, os.path.join(ROOT, "include", "scratch", "version.hpp"))
        self.version = ".".join(re.findall(r"#define SCRATCH_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text))

    def export_sources(self):
        for part in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*"):
            copy(self, part, ROOT, self.export_sources_folder)

    def requirements(self):
        self.requires("nlohmann_json/[>=3.9 <4]", transitive_headers=True)
        self.requires("xxhash/[>=0.8 <1]", transitive_headers=True)
        if self.options.uring:
            self.requires("liburing/[>=2.0 <3]", transitive_headers=True, transitive_libs=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["SCRATCH_BUILD_TESTS"] = False
        toolchain.cache_variables["SCRATCH_BUILD_EXAMPLES"] = False
        toolchain.cache_variables["SCRATCH_FETCH_DEPENDENCIES"] = False
        toolchain.cache_variables["SCRATCH_WITH_URING"] = "ON" if self.options.uring else "OFF"
        toolchain.generate()
        CMakeDeps(self).generate()

    def build(self):
        CMake(self).configure()

    def package(self):
        CMake(self).install()

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.bindirs = self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_target_name", "scratch::scratch")
        self.cpp_info.system_libs = ["pthread"]
        if self.options.uring:
            self.cpp_info.defines = ["SCRATCH_WITH_URING=1"]
