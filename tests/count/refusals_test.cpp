// SPDX-License-Identifier: MIT
// ctest: syscalls=planned_syscalls
//
// What is refused of tables, merges and counting, and that afterwards everything is as it was.
#include <scratch/count_reader.hpp>
#include <scratch/count_table.hpp>
#include <scratch/merge.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/counts.hpp"
#include "support/crash.hpp"
#include "support/planned_syscalls.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;
using namespace scratch::literals;

namespace {

/// The bytes of a table of 64-bit keys, with sums that fit whatever was written into it.
class Forgery {
 public:
  explicit Forgery(const Workspace& where)
      : path_(where.path() / "table"),
        bytes_(text_of(path_)),
        body_end_(detail::TableFile(detail::directory_of(where), "table", 64).header().body_end()) {}

  std::size_t body_end() const { return body_end_; }
  std::string& bytes() { return bytes_; }
  std::uint64_t sum(std::size_t from, std::size_t n) const {
    return detail::xxh3(std::as_bytes(std::span(bytes_)).subspan(from, n));
  }
  std::uint64_t number(std::size_t at) const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }
  void set(std::size_t at, std::uint64_t value) { std::memcpy(bytes_.data() + at, &value, sizeof value); }

  /// Where `value` stands in an index entry.
  std::size_t find(std::uint64_t value) const {
    return bytes_.find(std::string_view(reinterpret_cast<const char*>(&value), sizeof value), body_end_);
  }

  void write() {
    constexpr std::size_t summed = detail::count_header_size - 8;
    set(summed - 8, sum(body_end_, bytes_.size() - body_end_));
    set(summed, sum(0, summed));
    put(path_, bytes_);
  }

 private:
  std::filesystem::path path_;
  std::string bytes_;
  std::size_t body_end_;
};

}  // namespace

TEST_CASE("a table whose sums fit, and whose counts are not those on record, is refused by verify") {
  const TempDir dir;
  const Workspace where(dir.path());
  write_table<std::uint64_t>(where, "table", {{1, 10}, {2, 20}});
  const std::string good = text_of(dir / "table");
  Forgery forgery(where);
  forgery.write();
  REQUIRE(text_of(dir / "table") == good);
  for (const std::size_t total : {24U, 32U}) forgery.set(total, forgery.number(total) + 1);
  forgery.write();
  const CountReader<std::uint64_t> reader(where, "table");
  CHECK(refuses_with(errc::corrupt, [&] { reader.verify(); }));
  CHECK(reader.get(2) == 20);
}

TEST_CASE("a block whose sums fit, and which no writer can have written, is refused by whoever looks for its keys") {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto model = some_counts<std::uint64_t>(100, 3);
  write_table(where, "table", model);
  Forgery forgery(where);
  const std::size_t begin = detail::count_header_size, size = forgery.body_end() - begin;
  const std::size_t at = forgery.find(forgery.sum(begin, size));
  REQUIRE(at != std::string::npos);
  std::memset(forgery.bytes().data() + begin, 0xff, size);
  forgery.set(at, forgery.sum(begin, size));
  forgery.write();
  const detail::TableFile file(detail::directory_of(where), "table", 64);
  const CountReader<std::uint64_t> reader(where, "table");
  const auto starts = file.find_positions(std::array<std::uint64_t, 1>{0});
  detail::TableFile::Buffers buffers;
  int by_file = 0, by_reader = 0;
  for (const auto& entry : model) {
    const std::uint64_t key = entry.first;
    by_file += refuses_with(errc::corrupt, [&] { file.find(starts[0], starts[1], detail::mix(key), buffers); });
    by_reader += refuses_with(errc::corrupt, [&] { static_cast<void>(reader.get(key)); });
  }
  CHECK(by_file > 0);
  CHECK(by_reader == by_file);
  CHECK(refuses_with(errc::corrupt, [&] { reader.verify(); }));
  put(dir / "table");
  write_table(where, "table", model, {.existing = Existing::replace});
  CHECK(read_table<std::uint64_t>(where, "table") == model);
}

TEST_CASE("a table that is cut off, or whose index changes, after it was opened is refused by whoever goes on") {
  const TempDir dir;
  const Workspace where(dir.path());
  const auto model = some_counts<std::uint64_t>(5000, 3);
  write_table(where, "table", model);
  const detail::TableFile file(detail::directory_of(where), "table", 64);
  const auto starts = file.find_positions(std::array<std::uint64_t, 1>{0});
  const std::string good = text_of(dir / "table");
  const std::size_t index = file.header().body_end(), record = detail::BlockRecord::stored;
  REQUIRE(file.block_count() > 2);
  const auto keys = [&] {
    detail::TableFile::Buffers buffers;
    std::size_t n = 0;
    file.for_each_span(starts[0], starts[1], 0, ~std::uint64_t{0}, buffers, [&](auto entries) { n += entries.size(); });
    return n;
  };
  const auto with = [&](std::string bytes) {
    const detail::Fd open(::open((dir / "table").c_str(), O_WRONLY | O_CLOEXEC));  // the same file
    REQUIRE(::pwrite(open.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    REQUIRE(::ftruncate(open.get(), static_cast<off_t>(bytes.size())) == 0);
    return refusal([&] { keys(); });
  };
  CHECK(keys() == model.size());
  CHECK(says(with(good.substr(0, index + record)), "it became shorter while it was read"));
  CHECK(says(with(good.substr(0, index) + std::string(good.size() - index, '\0')), "the index changed"));
  const std::string first = good.substr(index, record);
  CHECK(says(with(good.substr(0, index) + first + first + good.substr(index + 2 * record)), "the index changed"));
  CHECK_FALSE(with(good));
  CHECK(keys() == model.size());
}

TEST_CASE(
    "a merge that fails at a call and at all later ones says what became of the tables, and is done the next time") {
  const bool durable = GENERATE(false, true);
  const TempDir dir;
  long unknown = 0;
  for (long n = 0, fired = 1; fired > 0; ++n) {
    plan.clear();
    const std::string folder = std::to_string(n);
    std::filesystem::create_directory(dir / folder);
    const Workspace where(dir / folder, {.durable = durable});
    write_table<std::uint64_t>(where, "a", {{1, 10}, {2, 20}});
    write_table<std::uint64_t>(where, "b", {{2, 2}, {4, 4}});
    plan.fail_from(n, EIO);
    const auto said = refusal([&] { merge<std::uint64_t>(where, "a", "b"); });
    fired = plan.fired;
    plan.clear();
    CAPTURE(durable, n, words_of(said));
    REQUIRE((!said || fired > 0));
    unknown += says(said, "that is finished or undone when");
    if (said) merge<std::uint64_t>(where, "a", "b");
    REQUIRE(read_table<std::uint64_t>(where, "a") == Model<std::uint64_t>{{1, 10}, {2, 22}, {4, 4}});
    REQUIRE(where.list() == std::vector<std::string>{"a"});
  }
  CHECK(unknown > 0);
}

TEST_CASE("a table that cannot be renamed, or whose new name cannot be put on record, keeps its name") {
  const auto [call, error] = GENERATE(std::pair{"renameat2", EIO}, std::pair{"write", ENOSPC});
  CAPTURE(call);
  const TempDir dir;
  write_table<std::uint64_t>(Workspace(dir.path()), "a", {{1, 10}});
  const Workspace where(dir.path());  // does not know the names yet
  plan.fail_once(0, error);
  plan.only = call;
  const auto said = refusal([&] { merge_all<std::uint64_t>(where, "all", {"a"}); });
  REQUIRE(plan.fired == 1);
  plan.clear();
  CHECK(says(said, "nothing was merged into \"all\" yet"));
  CHECK(where.list() == std::vector<std::string>{"a"});
  merge_all<std::uint64_t>(where, "all", {"a"});
  CHECK(where.list() == std::vector<std::string>{"all"});
  CHECK(read_table<std::uint64_t>(where, "all") == Model<std::uint64_t>{{1, 10}});
}

TEST_CASE("names that are too long for a claim, and files that only begin like one, are left alone") {
  const TempDir dir;
  const Workspace where(dir.path());
  const std::string a(120, 'a'), b(120, 'b');
  for (const std::string& name : {a, b}) write_table<std::uint64_t>(where, name, {{1, 10}});
  CHECK(refuses_with(errc::invalid_name, [&] { merge<std::uint64_t>(where, a, b); }));
  CHECK(where.list() == std::vector<std::string>{a, b});
  CHECK(read_table<std::uint64_t>(where, b) == Model<std::uint64_t>{{1, 10}});

  const detail::Claim claim{7, "a", "b"};
  const std::string name = claim.name(), prefix(detail::claim_prefix);
  REQUIRE(detail::Claim::parse(name));
  for (const std::string& wrong : {prefix + "000000000000000x" + name.substr(prefix.size() + 16),
                                   prefix + "0000000000000007.x.a.b", prefix + "0000000000000007.1a.b"}) {
    put(dir / wrong, "somebody's");
    CHECK_FALSE(detail::Claim::parse(wrong));
  }
  CHECK(detail::claims_in(detail::directory_of(where)).empty());
  detail::undo_claim(detail::directory_of(where), claim);  // which somebody undid
  CHECK_FALSE(std::filesystem::exists(dir / "b"));
}

TEST_CASE("a count that would pass 2^64 - 1 changes nothing, nor does a forked child that counts") {
  const TempDir dir;
  const Workspace where(dir.path());
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  CountTable<std::uint64_t> table(where, "table");
  table.add(7, most - 1);
  CHECK(says(refusal([&] { table.add(7, 2); }), "it was counted " + std::to_string(most - 1) + " times, and 2 more"));
  CHECK(in_child([&] {
          if (!refuses_with(errc::forked_object, [&] { table.add(7); })) ::_exit(7);
        }) == Ending::finished);
  table.add(7);
  table.commit();
  CHECK(read_table<std::uint64_t>(where, "table") == Model<std::uint64_t>{{7, most}});
}

TEST_CASE("16-bit counts that were lost or came twice are neither committed nor given") {
  const TempDir dir;
  const Workspace where(dir.path());
  const detail::Directory& directory = detail::table_directory(where);
  for (const std::uint64_t said : {999U, 1001U}) {
    detail::StoreOf<std::uint16_t> store(directory, dir / "table", 256_KiB, 1, 16, detail::mix_keys<std::uint16_t>);
    const std::vector<std::uint16_t> keys(1000, 5);
    store.add(store.own(), keys.data(), keys.size());
    detail::CommitWatch watch(dir / "table", {}, {});
    CHECK(refuses_with(errc::corrupt, [&] { store.commit("table", detail::Replacing::nothing, said, 1, watch); }));
    CHECK(where.list().empty());
    std::uint64_t given = 0;
    detail::DrainingOf<std::uint64_t> draining{.give = [&](auto, unsigned) { ++given; }, .at_least = 1, .watch = watch};
    CHECK(refuses_with(errc::corrupt, [&] { store.give_all(draining, said); }));
    CHECK(given == 0);
    CHECK(store.commit("table", detail::Replacing::whatever_is_there, 1000, 1, watch).kept == 1);
    CHECK(read_table<std::uint16_t>(where, "table") == Model<std::uint16_t>{{5, 1000}});
    std::filesystem::remove(dir / "table");
  }
}
