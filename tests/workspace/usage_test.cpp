// SPDX-License-Identifier: MIT
#include <scratch/usage.hpp>

#include <iomanip>
#include <sstream>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
namespace detail = scratch::detail;
using scratch::Usage;
using scratch::UsageReport;
using scratch::test::put;
using scratch::test::TempDir;

TEST_CASE("usage counts files at any depth, and neither links nor the library's own records") {
  const TempDir dir;
  fs::create_directories(dir / "sorting/left");
  fs::create_directories(dir / ".scratch-trash-0000000000000000");
  put(dir / "a", std::string(1000, 'x'));
  put(dir / "sorting/b", std::string(5000, 'x'));
  put(dir / "sorting/left/c", std::string(1, 'x'));
  put(dir / "sorting/left/empty");
  put(dir / "metadata.json", "{}");
  put(dir / ".lock");
  put(dir / "chunks.jsonl", "x");
  put(dir / ".scratch-quota", "x");
  put(dir / ".scratch-trash-0000000000000000/x", "x");
  fs::create_symlink("/etc/passwd", dir / "link");
  const Usage usage = detail::usage_below(dir.fd(), dir.path());
  CHECK(usage.files == 4);
  CHECK(usage.bytes == 6001);
  CHECK(usage.allocated >= 6001);
  CHECK(usage.allocated % 512 == 0);
}

TEST_CASE("a sparse file has its size, and what is set aside for it") {
  const TempDir dir;
  put(dir / "sparse");
  fs::resize_file(dir / "sparse", 1'000'000);
  const Usage usage = detail::usage_below(dir.fd(), dir.path());
  CHECK(usage.bytes == 1'000'000);
  CHECK(usage.allocated < 1'000'000);
}

TEST_CASE("a report has a row for the top and for each area in natural order, and adds up") {
  const TempDir dir;
  fs::create_directories(dir / "phase10/below");
  fs::create_directories(dir / "phase2");
  put(dir / "a", std::string(10, 'x'));
  put(dir / "phase2/b", std::string(20, 'x'));
  put(dir / "phase10/below/c", std::string(30, 'x'));
  const UsageReport report = detail::usage_report_below(dir.fd(), dir.path());
  REQUIRE(report.rows.size() == 3);
  CHECK(report.rows[0].area.empty());
  CHECK(report.rows[0].usage.bytes == 10);
  CHECK(report.rows[1].area == "phase2");
  CHECK(report.rows[1].usage.bytes == 20);
  CHECK(report.rows[2].area == "phase10");
  CHECK(report.rows[2].usage.bytes == 30);
  CHECK(report.total == detail::usage_below(dir.fd(), dir.path()));
}

TEST_CASE("a report prints as a table") {
  UsageReport report;
  report.rows.push_back({"", {1, 10, 4096}});
  report.rows.push_back({"partitioning", {12, 3 << 20, 3 << 20}});
  report.total = {13, (3 << 20) + 10, (3 << 20) + 4096};
  std::ostringstream out;
  out << report;
  CHECK(out.str() ==
        "area              files       bytes   allocated\n"
        "(top)                 1        10 B     4.0 KiB\n"
        "partitioning         12     3.0 MiB     3.0 MiB\n"
        "total                13     3.0 MiB     3.0 MiB\n");
}

TEST_CASE("a table shows no control bytes of a name, and leaves the stream's settings alone") {
  UsageReport report;
  report.rows.push_back({"\x1b[31mred", {1, 10, 4096}});
  std::ostringstream out;
  out << std::left << std::setfill('*') << report << std::setw(3) << 1;
  CHECK(out.str().find('\x1b') == std::string::npos);
  CHECK(out.str().ends_with("\n1**"));
  CHECK(out.str().find("         1") != std::string::npos);
}

TEST_CASE("an empty directory takes nothing") {
  const TempDir dir;
  CHECK(detail::usage_below(dir.fd(), dir.path()) == Usage{});
  CHECK(detail::usage_report_below(dir.fd(), dir.path()).rows.size() == 1);
}
