// SPDX-License-Identifier: MIT
//
// The logs when the job is over: in the user's directory, those of all nodes as one set. Where a rank died there are no
// others any more to ask: each node leaves what it has, in node_N.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "bytes.hpp"
#include "logs.hpp"
#include "ranks.hpp"
#include "stream.hpp"

namespace ranks {

class KeptLogs {
 public:
  /// @param directory that gets them; empty: none
  KeptLogs(Ranks& ranks, const Logs& logs, const std::string& directory)
      : ranks_(ranks), logs_(logs), directory_(directory) {}

  /// With all others.
  void bring() {
    if (directory_.empty()) return;
    ranks_.together([] {});  // all have written their last line
    for (const auto& [name, head] : log_files) {
      std::string text = ranks_.worker() == 0 ? logs_.text_of(name) : std::string();
      if (!ranks_.is_first() && !text.empty()) text.erase(0, std::string_view(head).size());
      std::optional<PlainFile> file;
      ranks_.together([&, log = name] {
        if (ranks_.is_first()) file.emplace(directory_ / "metrics" / log);
      });
      for (unsigned from = 0; from < ranks_.size(); ++from) send(from, text, file);
    }
    const std::string own = logs_.text_of(Logs::own_name(ranks_.rank()));
    for (unsigned from = 0; from < ranks_.size(); ++from) {
      std::optional<PlainFile> file;
      ranks_.together([&] {
        if (ranks_.is_first()) file.emplace(directory_ / "metrics" / Logs::own_name(from));
      });
      send(from, own, file);
    }
  }

  /// Alone.
  void leave() const {
    if (directory_.empty()) return;
    std::error_code ignored;
    const auto to = directory_ / ("node_" + std::to_string(ranks_.node())) / "metrics";
    std::filesystem::create_directories(to, ignored);
    for (const auto& file : std::filesystem::directory_iterator(logs_.directory(), ignored))
      std::filesystem::copy_file(file.path(), to / file.path().filename(),
                                 std::filesystem::copy_options::overwrite_existing, ignored);
  }

 private:
  void send(unsigned from, const std::string& text, std::optional<PlainFile>& file) {
    ranks_.together([&] {
      TextBytes out(text);
      const bool sends = ranks_.rank() == from;
      if (sends || file)
        stream_.move(sends ? std::optional<unsigned>(0) : std::nullopt, sends ? &out : nullptr,
                     file ? std::optional<unsigned>(from) : std::nullopt, file ? &*file : nullptr);
    });
  }

  Ranks& ranks_;
  const Logs& logs_;
  std::filesystem::path directory_;
  Stream stream_{ranks_, 1 << 20};
};

/// Does the work of a job with its logs, which are kept whatever its end is.
template <class Work>
void with_logs(Ranks& ranks, Logs& logs, const std::string& directory, Work work) {
  KeptLogs kept(ranks, logs, directory);
  ranks.on_failure([&](const std::exception& error) { logs.error(error); });
  logs.on_death([&] { kept.leave(); });
  const auto end = [&] {
    ranks.on_failure({});
    logs.on_death({});
  };
  try {
    work();
    logs.end("done", "all is delivered");
    kept.bring();
  } catch (const support::Stopped&) {
    if (logs.last_words("a signal, or another rank that died")) kept.leave();
    end();
    throw;
  } catch (const support::Told&) {
    logs.end("failed", "see error_log.csv");
    kept.bring();
    end();
    throw;
  }
  end();
}

}  // namespace ranks
