// SPDX-License-Identifier: MIT
//
// Jobs that go on after a kill. A session says under `user` in metadata.json of which job it is, and is kept until that
// is done: a later run with the same inputs and options adopts it.
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <scratch/any_place.hpp>
#include <scratch/bytes.hpp>
#include <scratch/dead_session.hpp>
#include <scratch/error.hpp>
#include <scratch/list_sessions.hpp>
#include <scratch/session_json.hpp>
#include <scratch/session_options.hpp>
#include <scratch/session_view.hpp>

#include "errors.hpp"
#include "names.hpp"
#include "stop.hpp"

namespace support {

/// What makes two runs of a program the same job.
struct Job {
  std::string program;
  nlohmann::json inputs;   ///< a list of `facts_of_input()`, or of what else the rows come from
  nlohmann::json options;  ///< those that say what becomes of them

  nlohmann::json to_json() const { return {{"program", program}, {"inputs", inputs}, {"options", options}}; }
};

/// A file's name, its size and when it changed: the same facts, the same bytes, as far as can be told by a look.
/// @throws Refused for what is no file
inline nlohmann::json facts_of_input(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) throw Refused("cannot read \"" + path + "\": " + text_of(errno));
  if (!S_ISREG(facts.st_mode)) throw Refused("cannot read " + path + " again, as --resume must: it is no file");
  return {encoded(std::filesystem::absolute(path).native()), facts.st_size, facts.st_mtim.tv_sec,
          facts.st_mtim.tv_nsec};
}

/// The words of a command as a shell takes them.
inline std::string as_typed(int argc, const char* const* argv) {
  std::string line;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
    line += i > 0 ? " " : "";
    if (!word.empty() && word.find_first_not_of(plain) == word.npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

/// The session of an earlier run, which was killed.
struct Unfinished {
  scratch::SessionInfo info;
  nlohmann::json user;  ///< as it was left
};

/// What there is of a job in its places. Of a set of sessions the first one speaks.
class Earlier {
 public:
  /// @throws Refused where somebody works on this very job; scratch::Error for a place that cannot be read
  Earlier(const std::vector<scratch::AnyPlace>& places, const Job& job) : job_(job.to_json()) {
    for (const scratch::AnyPlace& place : places) {
      std::vector<scratch::SessionInfo> all = scratch::list_sessions(place);
      for (auto info = all.rbegin(); info != all.rend(); ++info)
        if (info->kept && info->status != "completed" && (info->siblings.empty() || info->siblings[0] == info->path))
          look(std::move(*info));
    }
    if (unfinished_) wait_for_its_workers();
  }

  /// What a session says under "job", to be found by.
  const nlohmann::json& job() const { return job_; }
  /// What can be gone on with.
  const std::optional<Unfinished>& unfinished() const { return unfinished_; }

  void tell() const {
    if (unfinished_)
      notice("going on with the session " + unfinished_->info.path.native());
    else
      notice("a new start: " + why_not_);
  }

  /// A new start takes the place of those which it did not go on with.
  /// @param label of its session: those of this label that were killed before they said what they are for go, too
  void remove_others(const std::string& label) const {
    if (!unfinished_)
      for (const scratch::SessionInfo& info : others_) remove(info);
    for (const scratch::SessionInfo& info : nameless_)
      if (info.label == label) remove(info);
  }

 private:
  static void remove(const scratch::SessionInfo& info) {
    remove(info.path);
    for (std::size_t i = 1; i < info.siblings.size(); ++i) remove(info.siblings[i]);
  }
  static void remove(const std::filesystem::path& path) {
    try {
      const std::uint64_t bytes = scratch::remove_session(path);
      notice("removed what an earlier run left unfinished: " + path.native() + ", " + scratch::readable_size(bytes));
    } catch (const scratch::Error& error) {
      if (error.code() != scratch::errc::session_gone) notice(error.what());
    }
  }

  void look(scratch::SessionInfo info) {
    nlohmann::json job;
    nlohmann::json user;
    try {
      user = scratch::user_json(scratch::SessionView(info.path));
      job = user.value("job", nlohmann::json::object());
    } catch (const scratch::Error& error) {
      if (!info.owner_alive && error.code() != scratch::errc::session_gone)
        notice("a session cannot be gone on with: " + std::string(error.what()));
      return;
    }
    if (user.empty() && info.bytes == 0 && !info.alive) nameless_.push_back(info);
    if (!job.is_object() || job.value("program", nlohmann::json()) != job_.at("program") ||
        names(job.value("inputs", nlohmann::json())) != names(job_.at("inputs")))
      return;
    if (info.owner_alive) {
      if (job == job_)
        throw Refused("this job is being done by process " + std::to_string(info.pid) + ", in " + info.path.native());
      return;
    }
    if (job == job_ && !user.contains("given_up") && !unfinished_) {
      unfinished_ = {std::move(info), std::move(user)};
      return;
    }
    if (others_.empty())
      why_not_ = user.contains("given_up")               ? "the earlier run met what going on cannot mend"
                 : job.at("inputs") != job_.at("inputs") ? "the input has changed since the earlier run"
                                                         : "the earlier run had other options";
    others_.push_back(std::move(info));
  }

  // Of a list, whatever it is made of, the first of each.
  static nlohmann::json names(const nlohmann::json& inputs) {
    nlohmann::json all = nlohmann::json::array();
    if (inputs.is_array())
      for (const nlohmann::json& input : inputs)
        all.push_back(input.is_array() && !input.empty() ? input.front() : input);
    return all;
  }

  // They end with the process that started them, but not at the same instant.
  void wait_for_its_workers() {
    for (int i = 0; unfinished_->info.alive; ++i) {
      if (i == 250)
        throw Refused("the owner of " + unfinished_->info.path.native() +
                      " is dead, but somebody else still uses it: what works for it must end first");
      pause_for(20);
      unfinished_->info = scratch::SessionView(unfinished_->info.path).info();
    }
  }

  nlohmann::json job_;
  std::optional<Unfinished> unfinished_;
  std::vector<scratch::SessionInfo> others_;    // of the same inputs, the latest first
  std::vector<scratch::SessionInfo> nameless_;  // killed before they said what they are for
  std::string why_not_ = "nothing of this job is unfinished";
};

/// Going on would end as it ended now: the next run starts anew.
inline void give_up(scratch::OwnedSession& session, const std::string& why) {
  nlohmann::json user = scratch::user_json(session);
  user["given_up"] = why;
  scratch::user(session, user);
}

/// What is damaged, in the words of the error that says so; empty where it says something else.
inline std::string damage(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const Damaged& found) {
    return found.what();
  } catch (const scratch::Error& found) {
    if (found.code() == scratch::errc::checksum_mismatch || found.code() == scratch::errc::corrupt) return found.what();
  } catch (...) {
  }
  return {};
}

/// Does what a session is for, and says how to go on where that did not come to its end.
/// @param earlier nothing: it cannot be gone on with
/// @param command as it was typed
template <class Work>
void with_way_on(const std::optional<Earlier>& earlier, const scratch::OwnedSession& session,
                 const std::string& command, Work work) {
  if (!earlier) return work();
  const auto tell = [&](const char* what) {
    notice(std::string(what) + ": what is done stays in " + session.path().native() + "; go on with: " + command);
  };
  try {
    work();
  } catch (const ClosedOutput&) {
    tell("nobody reads the output");
    throw;
  } catch (...) {
    tell(Stop::signal() != 0 ? "stopped" : "not done");
    throw;
  }
}

}  // namespace support
