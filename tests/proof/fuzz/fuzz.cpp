// SPDX-License-Identifier: MIT
//
// For libFuzzer (fuzz.sh): SCRATCH_FUZZ says what the bytes are.
//
//   table    a count table's file; the first byte chooses the width, and whether checksums are mended to get deeper
//   session  metadata.json and chunks.jsonl of a living session that is joined and listed; lines' checksums likewise
//   line     a line of chunks.jsonl between two of ours; its checksum likewise
//   words    labels, names, globs, series, claims, records
//   counts   calls to a CountTable, compared with a std::map
//   planted  the same, with a CountTable that forgets: the control, it must be found out
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/scratch.hpp>
#include <scratch/session_json.hpp>

#include "support/temp_dir.hpp"

namespace {

using namespace scratch;

void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// In a directory that fuzz.sh removes, since a crash runs no destructors.
const std::filesystem::path& stage() {
  static const test::TempDir dir(test::TempDir::On::disk);
  return dir.path();
}

void put(const std::filesystem::path& file, std::string_view text) {
  const int open = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  must(open >= 0 && ::write(open, text.data(), text.size()) == static_cast<ssize_t>(text.size()), "the file is there");
  ::close(open);
}

// Hands out the input piece by piece; zeros when it is over.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  bool empty() const { return left_ == 0; }

  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value |= std::uint64_t{byte()} << 8 * i;
    return value;
  }

  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }

  std::string text(std::size_t size) {
    size = std::min(size, left_);
    std::string taken(reinterpret_cast<const char*>(data_), size);
    data_ += size;
    left_ -= size;
    return taken;
  }
  std::string rest() { return text(left_); }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

// Makes every checksum of a table right, as far as its header leads to it.
void mend_table(std::string& file) {
  auto* at = reinterpret_cast<std::byte*>(file.data());
  const Bytes all = bytes_of(file);
  if (file.size() < detail::count_header_size) return;
  const std::size_t header = detail::load_le<std::uint32_t>(at + 4) == 2 ? 64 : detail::count_header_size;
  const auto body = detail::load_le<std::uint64_t>(at + header - 24);
  if (body <= file.size() - header) {
    const bool is_small = detail::load_le<std::uint32_t>(at) == detail::count_magic(16);
    const std::size_t index = is_small ? header : header + static_cast<std::size_t>(body);
    std::size_t block = header;
    for (std::size_t i = index; !is_small && i + detail::BlockRecord::stored <= file.size();
         i += detail::BlockRecord::stored) {
      const std::size_t bytes = detail::BlockRecord::load(at + i).bytes;
      if (bytes > index - block) break;
      detail::store_le(at + i + 8, detail::xxh3(all.subspan(block, bytes)));
      block += bytes;
    }
    detail::store_le(at + header - 16, detail::xxh3(all.subspan(index)));
  }
  detail::store_le(at + header - 8, detail::xxh3(all.first(header - 8)));
}

template <CountKey Key>
void read_table(const Workspace& where, bool mended) {
  try {
    const CountReader<Key> reader(where, "table");
    std::uint64_t seen = 0;
    for (const auto& [key, count] : reader) {
      // Right checksums over wrong contents are nobody's table; those it must only survive.
      if (seen++ < 1000) must(reader.get(key) == count || mended, "get() and the pass agree");
    }
    reader.verify();
    must(seen == reader.distinct() || mended, "distinct() is how many there are");
  } catch (const Error&) {
  }
  try {
    CountTable<Key> more(where, "table", {.memory = 256_KiB, .existing = Existing::add});
    more.add(1);
    more.commit();
    CountReader<Key>(where, "table").verify();
  } catch (const Error&) {
  }
}

void fuzz_table(Input input) {
  static const Workspace where(stage());
  const unsigned how = input.byte();
  std::string file = input.rest();
  if (how % 2 == 1) mend_table(file);
  put(stage() / "table", file);
  if (how / 2 % 3 == 0) read_table<std::uint64_t>(where, how % 2 == 1);
  if (how / 2 % 3 == 1) read_table<std::uint32_t>(where, how % 2 == 1);
  if (how / 2 % 3 == 2) read_table<std::uint16_t>(where, how % 2 == 1);
}

std::string mended_log(std::string_view log) {
  std::string mended;
  while (!log.empty()) {
    const std::size_t end = std::min(log.find('\n'), log.size());
    mended += detail::sealed(std::string(log.substr(0, end)));
    log.remove_prefix(std::min(end + 1, log.size()));
  }
  return mended;
}

std::string record_line(std::uint64_t id) {
  detail::ChunkRecord record;
  record.info = {id, "chunk_" + std::to_string(id) + ".bin", 0, 0, "xxh3:2d06800538d394c2", ""};
  return detail::chunk_record(record);
}

void fuzz_session(Input input) {
  static const Under place{stage() / "place"};
  static const SessionDir<Under> owner(place, "owner");
  const bool mend = input.byte() % 2 == 1;
  const std::size_t size = input.number(2);
  put(owner.path() / "metadata.json", input.text(size));
  const std::string log = input.rest();
  put(owner.path() / "chunks.jsonl", mend ? mended_log(log) : log);
  for (const SessionInfo& info : list_sessions(place)) must(info.alive && info.path == owner.path(), "it is listed");
  try {
    JoinedSession joined(owner.path());
    for (const ChunkInfo& chunk : joined.chunks()) {
      must(detail::is_inner_path(chunk.file), "no record leads out of the session");
      try {
        ChunkReader(joined, chunk).verify();
      } catch (const Error&) {
      }
    }
    joined.publish();
    must(scratch::metadata_json(joined)["chunks"].size() == joined.chunks().size(), "what was published reads back");
  } catch (const Error&) {
  }
}

// Passed over and counted, or a record that leads nowhere else; what stands around it stays.
void fuzz_line(Input input) {
  static const Under place{stage() / "place"};
  static const SessionDir<Under> owner(place, "owner");
  static const std::filesystem::path victim = stage() / "place" / "victim.bin";
  static const std::string before = record_line(1), behind = record_line(2);
  if (!std::filesystem::exists(victim)) {
    put(victim, "12345");
    std::filesystem::create_directory_symlink(stage() / "place", owner.path() / "link");
  }
  const bool mend = input.byte() % 2 == 1;
  std::string line = input.rest();
  std::erase(line, '\n');
  if (mend) {
    line = detail::sealed(line);
    line.pop_back();
  }
  put(owner.path() / "chunks.jsonl", before + line + "\n" + behind);

  const auto text = detail::checked_text(line);
  const auto record = text ? detail::parse_record(*text) : std::nullopt;
  const detail::Fd directory = detail::open_directory(AT_FDCWD, owner.path().c_str());
  detail::ChunkLog log(directory.get(), owner.path());
  const std::vector<ChunkInfo> chunks = log.chunks();
  const auto has = [&](std::uint64_t id) {
    return std::any_of(chunks.begin(), chunks.end(), [&](const ChunkInfo& chunk) { return chunk.id == id; });
  };
  if (!record) {
    must(chunks.size() == 2 && has(1) && has(2), "a line that is none takes none of ours with it");
    must(log.skipped() == (line.empty() ? 0 : 1), "a line that is none is counted");
  } else {
    must(record->gone || record->leaves || log.skipped() > 0 || has(record->info.id), "a record is taken or counted");
    must(has(2), "the next record counts");
  }
  for (const ChunkInfo& chunk : chunks) must(detail::is_inner_path(chunk.file), "no record leads out of the session");
  try {
    JoinedSession joined(owner.path());
    std::uint64_t position = 0;
    for (const ChunkInfo& chunk : joined.chunks_after(position)) {
      try {
        ChunkReader(joined, chunk).verify();
      } catch (const Error&) {
      }
      try {
        joined.remove(chunk);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  must(std::filesystem::exists(victim), "nothing outside the session is removed");
}

void fuzz_words(Input input) {
  const std::size_t first = input.byte(), second = input.byte();
  const std::string a = input.text(first), b = input.text(second), c = input.rest();

  const std::string label = detail::clean_label(a);
  must(!label.empty() && label.size() <= detail::longest_label, "a label has 1 to 48 bytes");
  must(detail::clean_label(label) == label, "a clean label stays as it is");
  const std::string session = detail::SessionGrammar{}.session(label, first);
  must(detail::grammar_of(session).has_value(), "every session's name is in the grammar");
  detail::check_file_name(session, "test");
  if (const auto grammar = detail::grammar_of(a)) must(grammar->is_session(a), "a grammar holds what it was found in");

  try {
    detail::check_file_name(b, "test");
    must(detail::is_inner_path(b), "a file's name is an inner path");
  } catch (const Error& error) {
    must(error.code() == errc::invalid_name, "a bad name is an invalid name");
  }

  must(detail::matches_glob(c, "*"), "a star matches all");
  detail::matches_glob(a, b);
  std::string literal;
  for (const char byte : a) literal.append("\\").append(1, byte);
  must(detail::matches_glob(a, literal), "a quoted name matches itself");
  must(!(detail::natural_less(a, b) && detail::natural_less(b, a)), "one of two comes first");
  if (detail::natural_less(a, b) && detail::natural_less(b, c)) must(detail::natural_less(a, c), "order is transitive");

  try {
    const Series series(a, static_cast<unsigned>(second % 8), b);
    if (const auto found = series.parse(c)) must(series.name(found->index, found->extra) == c, "names are parsed back");
    must(series.parse(series.name(second)).value().index == second, "what was made is parsed");
  } catch (const Error& error) {
    must(error.code() == errc::invalid_name, "a bad series has an invalid name");
  }

  if (const auto claim = detail::Claim::parse(c))
    must(!claim->into.empty() && !claim->from.empty(), "claims have names");
  if (!a.empty() && !b.empty()) {
    const auto claim = detail::Claim::parse(detail::Claim{second, a, b}.name());
    must(claim && claim->into == a && claim->from == b && claim->nonce == second, "claims are parsed back");
  }
  if (const auto record = detail::parse_record(c)) {
    const std::string line = record->gone     ? detail::gone_record(record->info.id)
                             : record->leaves ? detail::leaves_record(record->info.id, record->info.file)
                                              : detail::chunk_record(*record);
    const auto text = detail::checked_text(std::string_view(line).substr(0, line.size() - 1));
    const auto again = text ? detail::parse_record(*text) : std::nullopt;
    must(again && again->info.file == record->info.file && again->sums == record->sums, "records are parsed back");
  }
}

template <CountKey Key>
class Calls {
 public:
  explicit Calls(bool forgets) : where_(stage()), forgets_(forgets) {}

  void make(Input input) {
    CountTable<Key>(where_, "table", replacing()).commit();
    std::optional<CountTable<Key>> table;
    table.emplace(where_, "table", adding());
    int commits = 0;
    for (int calls = 0; !input.empty() && calls < 200 && commits < 4; ++calls) {
      const unsigned call = input.byte();
      if (call % 8 >= 5) ++commits;  // these take time
      switch (call % 8) {
        case 0:
          add(*table, key(input, call), 1);
          break;
        case 1:
          add(*table, key(input, call), input.number(call % 9));
          break;
        case 2:
          must(table->get(key(input, call)) == model_[last_], "get() is what was added");
          break;
        case 3: {  // many, next to each other or far apart
          std::vector<Key> keys(input.byte() * 16U);
          const Key from = key(input, call), step = key(input, call / 8);
          for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<Key>(from + i * step);
          if (total_is_small()) {
            table->add(std::span<const Key>(keys));
            for (const Key each : keys) ++model_[each];
          }
          break;
        }
        case 4:
          table->flush();
          if (forgets_) model_.erase(Key{0x2A});  // as a table would that forgets what it spilled
          break;
        case 5:
          table->commit();
          committed_ = model_;
          compare("table");
          table.emplace(where_, "table", adding());
          break;
        case 6:  // dropped
          table.reset();
          model_ = committed_;
          table.emplace(where_, "table", adding());
          break;
        default:
          merge_into(*table, input, table);
      }
    }
    table->commit();
    compare("table");
  }

 private:
  static CountOptions replacing() { return {.memory = 256_KiB, .existing = Existing::replace}; }
  static CountOptions adding() { return {.memory = 256_KiB, .existing = Existing::add}; }

  // Few keys come often, the ends of the range among them.
  Key key(Input& input, unsigned call) {
    const std::uint64_t few[] = {0, 1, 0x2A, static_cast<Key>(~std::uint64_t{0})};
    last_ = call / 8 % 2 == 0 ? static_cast<Key>(few[input.byte() % 4]) : static_cast<Key>(input.number(sizeof(Key)));
    return last_;
  }

  bool total_is_small() const {
    std::uint64_t total = 0;
    for (const auto& [key, count] : model_) total = detail::saturating_add(total, count);
    return total < std::uint64_t{1} << 62;
  }

  void add(CountTable<Key>& table, Key key, std::uint64_t n) {
    const bool fits = ~std::uint64_t{0} - model_[key] >= n;
    try {
      table.add(key, n);
      must(fits, "an overflow is refused");
      model_[key] += n;
    } catch (const Error& error) {
      must(!fits && error.code() == errc::count_overflow, "add() refuses nothing else");
    }
  }

  void merge_into(CountTable<Key>& open, Input& input, std::optional<CountTable<Key>>& table) {
    open.commit();
    committed_ = model_;
    table.reset();
    CountTable<Key> other(where_, "other", replacing());
    const Key one = key(input, 8);
    other.add(one, 3);
    other.commit();
    try {
      merge<Key>(where_, "table", "other");
      must(~std::uint64_t{0} - model_[one] >= 3, "an overflow is refused");
      model_[one] += 3;
    } catch (const Error& error) {
      must(error.code() == errc::count_overflow && ~std::uint64_t{0} - model_[one] < 3, "merge() refuses nothing else");
    }
    committed_ = model_;
    compare("table");
    table.emplace(where_, "table", adding());
  }

  void compare(const char* name) {
    std::erase_if(model_, [](const auto& entry) { return entry.second == 0; });
    const CountReader<Key> reader(where_, name);
    reader.verify();
    must(reader.distinct() == model_.size(), "as many keys as were added");
    for (const auto& [key, count] : reader) {
      const auto found = model_.find(key);
      must(found != model_.end() && found->second == count, "the counts are what was added");
    }
  }

  Workspace where_;
  bool forgets_;
  Key last_ = 0;
  std::map<Key, std::uint64_t> model_, committed_;
};

void fuzz_counts(Input input, bool forgets) {
  const unsigned width = input.byte() % 8;
  if (width == 7)
    Calls<std::uint16_t>(forgets).make(input);
  else if (width % 2 == 1)
    Calls<std::uint32_t>(forgets).make(input);
  else
    Calls<std::uint64_t>(forgets).make(input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string what = std::getenv("SCRATCH_FUZZ") != nullptr ? std::getenv("SCRATCH_FUZZ") : "";
  const Input input(data, size);
  if (what == "table")
    fuzz_table(input);
  else if (what == "session")
    fuzz_session(input);
  else if (what == "line")
    fuzz_line(input);
  else if (what == "words")
    fuzz_words(input);
  else if (what == "counts" || what == "planted")
    fuzz_counts(input, what == "planted");
  else
    must(false, "SCRATCH_FUZZ is table, session, line, words, counts or planted");
  return 0;
}
