// SPDX-License-Identifier: MIT
//
// The words that all else is told in: error, event, chunk_info, count_key, and the options of workspaces and sessions.
#include <scratch/atomic_file.hpp>
#include <scratch/chunk_info.hpp>
#include <scratch/count_key.hpp>
#include <scratch/error.hpp>
#include <scratch/event.hpp>
#include <scratch/file_reader.hpp>
#include <scratch/session_options.hpp>
#include <scratch/workspace_options.hpp>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/chunks.hpp"
#include "support/refusal.hpp"
#include "support/temp_dir.hpp"

using namespace scratch;
using namespace scratch::test;

// ---- error

TEST_CASE("an error is one line: doing what, to which path, why, and what was found or would help") {
  CHECK(std::string(Error(ENOSPC, "rename", "/a/b", "1.0 MiB free", "/a/c").what()) ==
        "scratch: cannot rename \"/a/b\" to \"/a/c\": No space left on device (1.0 MiB free)");
  CHECK(std::string(Error(errc::busy, "merge", "/a").what()) ==
        "scratch: cannot merge \"/a\": in use by somebody else");
  CHECK(std::string(Error(errc::forked_object, "use an engine", {}).what()) ==
        "scratch: cannot use an engine: used in a forked child of the process that made it");
}

TEST_CASE("an error gives back what it was made of") {
  const Error error(EXDEV, "move", "/a", "another file system", "/b");
  CHECK(error.code() == std::error_code(EXDEV, std::generic_category()));
  CHECK(error.code() == std::errc::cross_device_link);
  CHECK(error.doing() == "move");
  CHECK(error.path() == "/a");
  CHECK(error.other_path() == "/b");
  CHECK(error.hint() == "another file system");
}

TEST_CASE("a name cannot write to a terminal through an error, and stays readable") {
  const auto shown = [](std::string_view name) { return std::string(Error(ENOENT, "open", name).what()); };
  CHECK(shown("a\x1b[2J\n\x7f") == "scratch: cannot open \"a\\x1b[2J\\x0a\\x7f\": No such file or directory");
  CHECK(shown("a\"b\\c") == "scratch: cannot open \"a\\\"b\\\\c\": No such file or directory");
  CHECK(shown("gr\u00fc\u00df") == "scratch: cannot open \"gr\u00fc\u00df\": No such file or directory");
}

TEST_CASE("an error is copied without fail, and outlives what it was copied from") {
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<Error>);
  STATIC_REQUIRE(std::is_base_of_v<std::system_error, Error>);
  auto first = std::make_unique<Error>(EIO, "read", std::string(1000, 'x'), "hint");
  const Error second = *first;
  const std::string what = first->what();
  first.reset();
  CHECK(second.what() == what);
  CHECK(second.hint() == "hint");
}

TEST_CASE("each reason of the library has words of its own, in a category of its own") {
  std::set<std::string> messages;
  for (int value = 1; value <= static_cast<int>(errc::locks_unreliable); ++value)
    messages.insert(make_error_code(static_cast<errc>(value)).message());
  CHECK(messages.size() == static_cast<std::size_t>(errc::locks_unreliable));
  CHECK_FALSE(messages.contains("unknown error"));
  CHECK(make_error_code(static_cast<errc>(0)).message() == "unknown error");
  CHECK(make_error_code(static_cast<errc>(static_cast<int>(errc::locks_unreliable) + 1)).message() == "unknown error");
  const std::error_code code = errc::corrupt;  // by itself
  CHECK(code.category() == scratch_category());
  CHECK(std::string(code.category().name()) == "scratch");
  CHECK(code != std::error_code(static_cast<int>(errc::corrupt), std::generic_category()));
}

// ---- event

TEST_CASE("each kind of event has words of its own") {
  std::set<std::string> words;
  for (unsigned kind = 0; kind <= static_cast<unsigned>(EventKind::shared_device); ++kind)
    words.insert(to_string(static_cast<EventKind>(kind)));
  CHECK(words.size() == static_cast<std::size_t>(EventKind::shared_device) + 1);
  CHECK_FALSE(words.contains("event"));
  CHECK(std::string(to_string(static_cast<EventKind>(99))) == "event");
}

TEST_CASE("whoever is told of an event may use the workspace that tells, and any part of it") {
  const TempDir dir;
  std::unique_ptr<Workspace> where;
  std::size_t chunks = 0;
  where = std::make_unique<Workspace>(dir.path(), WorkspaceOptions{.quota = 1_MiB, .on_event = [&](const Event& event) {
                                                                     if (event.kind != EventKind::chunk_committed)
                                                                       return;
                                                                     chunks = where->chunks().size();
                                                                     write_file(where->area("notes"), "note",
                                                                                event.message);
                                                                     static_cast<void>(where->usage());
                                                                     static_cast<void>(where->engine());
                                                                   }});
  write_chunk(*where, std::string(1000, 'x'));
  CHECK(chunks == 1);
  CHECK(where->area("notes").list() == std::vector<std::string>{"note"});
}

// ---- chunk_info

TEST_CASE("a layout has whole blocks, and a short last one") {
  static_assert(ChunkLayout{0}.count() == 0);
  static_assert(ChunkLayout{1}.count() == 1 && ChunkLayout{1}.size_of(0) == 1);
  static_assert(ChunkLayout{4_MiB}.count() == 1 && ChunkLayout{4_MiB}.size_of(0) == 4_MiB);
  static_assert(ChunkLayout{4_MiB + 1}.count() == 2 && ChunkLayout{4_MiB + 1}.size_of(1) == 1);
  REQUIRE(ChunkLayout{UINT64_MAX, 1}.count() == UINT64_MAX);
  for (std::uint64_t size = 0; size < 50; ++size)
    for (std::uint64_t block = 1; block < 12; ++block) {
      const ChunkLayout layout{size, block};
      std::uint64_t end = 0;
      for (std::uint64_t i = 0; i < layout.count(); ++i) {
        REQUIRE(layout.offset(i) == end);
        REQUIRE((layout.size_of(i) == block || i + 1 == layout.count()));
        REQUIRE(layout.size_of(i) > 0);
        end += layout.size_of(i);
      }
      REQUIRE(end == size);
    }
}

TEST_CASE("chunks are the same only when all that is known of them is") {
  const ChunkInfo info{.id = 3, .file = "chunk_3.bin", .size = 10, .rows = 2, .checksum = "xxh3:0", .user = "{}"};
  ChunkInfo other = info;
  CHECK(other == info);
  other.rows = 3;
  CHECK(other != info);
  other = info;
  other.user = "";
  CHECK(other != info);
}

// ---- count_key

TEST_CASE("a type for so many bits is the narrowest one") {
  const auto bits_of = []<class Key>(std::type_identity<Key>) { return detail::key_bits<Key>; };
  for (unsigned bits = 1; bits <= 128; ++bits)
    CHECK(with_key_type(bits, bits_of) == (bits <= 16 ? 16U : bits <= 32 ? 32U : bits <= 64 ? 64U : 128U));
  for (const unsigned bits : {0U, 129U, ~0U})
    CHECK(says(refusal([&] { with_key_type(bits, bits_of); }), "keys have 1 to 128 bits"));
  STATIC_REQUIRE(CountKey<Key128>);
  STATIC_REQUIRE_FALSE(CountKey<detail::UInt128>);
  STATIC_REQUIRE_FALSE(CountKey<int>);
  STATIC_REQUIRE_FALSE(CountKey<std::uint8_t>);
  STATIC_REQUIRE_FALSE(CountKey<std::int64_t>);
  STATIC_REQUIRE_FALSE(CountKey<const std::uint64_t>);
}

namespace {
template <CountKey Key, class I>
bool is_key(I value) {
  std::optional<Key> key;
  const auto error = refusal([&] { key = detail::key_of<Key>(value); });
  if (!error) return std::cmp_equal(*key, +value);
  CHECK(error->code() == std::errc::result_out_of_range);
  CHECK(says(error, "use " + std::to_string(+value) + " as a key"));
  CHECK(says(error, std::to_string(detail::key_bits<Key>) + " bits, unsigned"));
  return false;
}
}  // namespace

TEST_CASE("a number of any type is the key that it says, or an error that names it") {
  CHECK(is_key<std::uint16_t>(65535));
  CHECK_FALSE(is_key<std::uint16_t>(65536));
  CHECK_FALSE(is_key<std::uint16_t>(-1L));
  CHECK_FALSE(is_key<std::uint16_t>(std::numeric_limits<std::uint64_t>::max()));
  CHECK(is_key<std::uint32_t>(4294967295));
  CHECK_FALSE(is_key<std::uint32_t>(4294967296));
  CHECK_FALSE(is_key<std::uint32_t>(std::numeric_limits<int>::min()));
  CHECK(is_key<std::uint64_t>(std::numeric_limits<std::uint64_t>::max()));
  CHECK(is_key<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
  CHECK_FALSE(is_key<std::uint64_t>(std::int8_t{-128}));
  CHECK(is_key<std::uint16_t>(true));
  CHECK(is_key<std::uint16_t>('a'));
  CHECK(is_key<std::uint32_t>(U'\u00df'));
}

TEST_CASE("keys of 128 bits are numbers: in their order, and as they are read") {
  CHECK(Key128{1, 0} > Key128{0, 7});
  CHECK(Key128{1, 2} < Key128{1, 3});
  CHECK(detail::key_text(Key128{0xab, 0x0123456789abcdef}) == "00000000000000ab0123456789abcdef");
  CHECK(detail::key_text(std::uint32_t{42}) == "42");
  CHECK(detail::key_of<Key128>(7) == Key128{0, 7});
  CHECK(detail::key_of<Key128>(Key128{8, 9}) == Key128{8, 9});
  CHECK(refuses_with(std::errc::result_out_of_range, [] { static_cast<void>(detail::key_of<Key128>(-1)); }));
}

TEST_CASE("mixing keys of 128 bits loses nothing, and every bit matters to all") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 1000000; ++i) {
    const Key128 key = i < 1000 ? Key128{static_cast<std::uint64_t>(i), 0} : Key128{random(), random()};
    if (detail::unmix(detail::mix(key)) != key) FAIL(detail::key_text(key));
    const detail::UInt128 mixed = detail::UInt128{random()} << 64 | random();
    if (detail::mix(detail::unmix(mixed)) != mixed) FAIL(detail::key_text(detail::unmix(mixed)));
  }
  // For ever: tables are in this order.
  const detail::UInt128 one = detail::mix(Key128{0, 1}), other = detail::mix(Key128{1, 0});
  CHECK(detail::key_text(Key128{detail::high_half(one), detail::low_half(one)}) == "984a9fe1a711a2115c22c219c89894ff");
  CHECK(detail::key_text(Key128{detail::high_half(other), detail::low_half(other)}) ==
        "2b36824fc6b05ec406f0a081a92aa92e");

  // Flipping a bit flips each of the others in half of the keys: of 4,096, 2,048 give or take 32, and no pair of bits is
  // off by ten times as much. Keys are random ones, and those of a counter in either half.
  constexpr int keys = 4096;
  for (int kind = 0; kind < 3; ++kind) {
    std::vector<int> flips(128 * 128);
    for (int i = 0; i < keys; ++i) {
      const auto n = static_cast<std::uint64_t>(i);
      const Key128 key = kind == 0 ? Key128{random(), random()} : kind == 1 ? Key128{n, 0} : Key128{0, n};
      for (std::size_t bit = 0; bit < 128; ++bit) {
        Key128 near = key;
        (bit < 64 ? near.low : near.high) ^= std::uint64_t{1} << bit % 64;
        const detail::UInt128 change = detail::mix(key) ^ detail::mix(near);
        for (std::size_t k = 0; k < 128; ++k) flips[128 * bit + k] += static_cast<int>(change >> k & 1);
      }
    }
    const auto [least, most] = std::minmax_element(flips.begin(), flips.end());
    CHECK(*least > keys / 2 - 320);
    CHECK(*most < keys / 2 + 320);
  }
}

TEST_CASE("mixing keys loses nothing") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000000; ++i) {
    const std::uint64_t key = i < 1000 ? static_cast<std::uint64_t>(i) : random();
    const auto narrow = static_cast<std::uint32_t>(key);
    if (detail::unmix(detail::mix(key)) != key || detail::unmix(detail::mix(narrow)) != narrow) FAIL(key);
  }
  CHECK(detail::mix(std::uint64_t{1}) == 0xb456bcfc34c2cb2c);  // MurmurHash3's fmix64(1)
  CHECK(detail::mix(std::uint32_t{1}) == 0x514e28b7);          // and fmix32(1)
}

TEST_CASE("sums of counts stop at the largest one") {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  STATIC_REQUIRE(detail::saturating_add(most - 1, 1) == most);
  STATIC_REQUIRE(detail::saturating_add(most, 1) == most);
  STATIC_REQUIRE(detail::saturating_add(most, most) == most);
  STATIC_REQUIRE(detail::saturating_add(2, 3) == 5);
}

// ---- options

TEST_CASE("who says nothing has no limit, waits for no disk, and may write") {
  const WorkspaceOptions workspace;
  CHECK(workspace.quota == 0);
  CHECK_FALSE(workspace.durable);
  CHECK_FALSE(workspace.read_only);
  CHECK(workspace.buffers == 32_MiB);
  const SessionOptions session;
  CHECK(session.need == 0);
  CHECK(session.quota == 0);
  CHECK(session.buffers == workspace.buffers);
  const TempDir dir;
  const Workspace where(dir.path());
  write_file(where, "file", std::string(1000, 'x'));
  CHECK(detail::directory_of(where).state().quota().limit() == 0);
  CHECK(where.engine() == BestIo::make(Medium::of(dir.fd()))->describe());
}

TEST_CASE("a workspace that only looks does not even clean up, and says why it does not write") {
  const TempDir dir;
  write_file(Workspace(dir.path()), "file", std::string("text"));
  const std::string left = std::string(detail::temp_prefix) + "0123456789abcdef";
  put(dir / left);
  const auto names = names_in(dir.path());
  const Workspace where(dir.path(), {.read_only = true});
  CHECK(read_file(where, "file").size() == 4);
  const auto error = refusal([&] { write_file(where, "file", std::string("other")); });
  CHECK(error->code() == std::errc::read_only_file_system);
  CHECK(says(error, "opened to look only"));
  CHECK(names_in(dir.path()) == names);
  CHECK(text_of(dir / "file") == "text");
  const Workspace writing(dir.path());  // the control: this one cleans up
  CHECK_FALSE(names_in(dir.path()).contains(left));
}
