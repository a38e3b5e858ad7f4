// SPDX-License-Identifier: MIT
// floor 3: one place
//
// The record of chunks, as a guest of a workspace: it follows files that are renamed, and forgets those that go.
#pragma once

#include <cerrno>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/chunk_info.hpp>
#include <scratch/detail/chunk/chunk_log.hpp>
#include <scratch/detail/kernel/syscalls.hpp>
#include <scratch/detail/text/names.hpp>
#include <scratch/detail/workspace/directory.hpp>
#include <scratch/detail/workspace/guest.hpp>
#include <scratch/detail/workspace/shared_state.hpp>
#include <scratch/error.hpp>

namespace scratch::inline SCRATCH_ABI::detail {

/// The record of a chunk whose file gets another name: right before, in between, and when the process dies on the way.
class MovingChunk final : public Hold {
 public:
  /// @throws Error and then the file must stay where it is
  MovingChunk(SharedState& state, ChunkLog& log, ChunkInfo chunk, std::string to)
      : state_(state), log_(log), chunk_(std::move(chunk)), to_(std::move(to)) {
    log_.leaves(chunk_.id, to_);
  }
  // Where somebody else moved it meanwhile, it is on record where to.
  ~MovingChunk() override {
    struct stat facts {};
    if (!moved_ && sys::fstatat(state_.fd(), chunk_.file.c_str(), facts) == 0) note(chunk_.file);
  }

  void moved() noexcept override {
    moved_ = true;
    note(to_);
  }

 private:
  // What fails here is no harm: it is on record already that the file may be there.
  void note(const std::string& file) noexcept {
    try {
      if (file.empty())
        log_.remove(chunk_.id);
      else
        log_.rename(chunk_.id, file);
      state_.recorded();
    } catch (const std::exception&) {
    }
  }

  SharedState& state_;
  ChunkLog& log_;
  ChunkInfo chunk_;
  std::string to_;
  bool moved_ = false;
};

class ChunkGuest final : public Guest {
 public:
  static constexpr std::string_view kind = "chunks";

  explicit ChunkGuest(SharedState& state)
      : Guest(kind), state_(state), log_(state.fd(), state.path(), Patience{10'000}, &state.lacks()) {}

  ChunkLog& log() noexcept { return log_; }

  void check_free(const Directory& where, const std::string& name, const char* doing) override {
    if (const std::optional<ChunkInfo> chunk = log_.find_file(where.relative(name)))
      throw_error(EEXIST, doing, where.path() / name,
                  "chunk " + std::to_string(chunk->id) + " is on record there: remove it first, or take another name");
  }

  std::unique_ptr<Hold> departs(const std::string& file, std::string to) override {
    std::optional<ChunkInfo> chunk = log_.find_file(file);
    if (!chunk) return nullptr;
    return std::unique_ptr<Hold>(new MovingChunk(state_, log_, *std::move(chunk), std::move(to)));
  }

  void all_depart(const std::string& prefix) override {
    std::vector<std::uint64_t> going;
    log_.for_each([&](const ChunkEntry& chunk) {
      if (chunk.info.file.starts_with(prefix)) going.push_back(chunk.info.id);
    });
    for (const std::uint64_t id : going) log_.leaves(id, "");
  }

  void removed(const NameSet& files, const NameSet& trees) override {
    std::vector<ChunkInfo> gone;
    for (const std::string& file : files)
      if (std::optional<ChunkInfo> chunk = log_.find_file(file)) gone.push_back(*std::move(chunk));
    if (!trees.empty())
      log_.for_each([&](const ChunkEntry& chunk) {
        if (is_at_or_below(trees, chunk.info.file)) gone.push_back(chunk.info);
      });
    bool any = false;
    for (const ChunkInfo& chunk : gone) {
      if (is_there(chunk.file)) {
        log_.stays(chunk.id);
        continue;
      }
      log_.remove(chunk.id);
      any = true;
    }
    if (any) state_.recorded();
  }

  void close() noexcept override { log_.close(); }

  void add_names(NameSet& names) override {
    const auto facts = facts_of(state_.fd(), std::string(chunks_name), state_.path());
    if (facts && facts->st_uid != sys::geteuid())
      throw_error(errc::corrupt, "use", state_.path() / chunks_name,
                  "this record of chunks belongs to user " + std::to_string(facts->st_uid));
    log_.for_each([&](const ChunkEntry& chunk) { names.insert(chunk.info.file); });
  }

 private:
  static bool is_at_or_below(const NameSet& trees, std::string file) {
    for (std::size_t end = file.size(); end != file.npos; end = file.rfind('/')) {
      file.resize(end);
      if (trees.contains(file)) return true;
    }
    return false;
  }

  bool is_there(const std::string& file) const {
    struct stat facts {};
    return sys::fstatat(state_.fd(), file.c_str(), facts) == 0;
  }

  SharedState& state_;
  ChunkLog log_;
};

inline std::unique_ptr<Guest> make_chunk_guest(SharedState& state) {
  return std::unique_ptr<Guest>(new ChunkGuest(state));
}

/// The record of the chunks of a workspace and its areas.
inline ChunkLog& chunk_log(const SharedState& state) { return state.guest<ChunkGuest>().log(); }

}  // namespace scratch::inline SCRATCH_ABI::detail
