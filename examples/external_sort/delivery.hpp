// SPDX-License-Identifier: MIT
//
// The output directory: it gets every part, or is left as it was.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <scratch/scratch.hpp>

#include "checker.hpp"
#include "layout.hpp"
#include "plan.hpp"
#include "record.hpp"
#include "refused.hpp"

namespace external_sort {

class Delivery {
 public:
  /// The directory is there, can be written, and has no parts in it.
  /// @throws Refused
  explicit Delivery(const std::filesystem::path& directory) : directory_(std::filesystem::absolute(directory)) {
    std::error_code error;
    made_ = std::filesystem::create_directory(directory_, error);
    if (error && !std::filesystem::is_directory(directory_))
      throw Refused("cannot make the output directory " + directory_.string() + ": " + error.message());
    if (::access(directory_.c_str(), W_OK | X_OK) != 0)
      throw Refused("cannot write to the output directory " + directory_.string() + ": " +
                    std::generic_category().message(errno));
    for (const auto& entry : std::filesystem::directory_iterator(directory_))
      if (parts().parse(entry.path().filename().string()))
        throw Refused("the output directory " + directory_.string() +
                      " has parts in it already: " + entry.path().filename().string());
  }
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;
  ~Delivery() {
    std::error_code ignored;
    for (const std::string& name : delivered_) std::filesystem::remove(directory_ / name, ignored);
    if (made_) std::filesystem::remove(directory_, ignored);
  }

  const std::filesystem::path& directory() const { return directory_; }

  template <class Session>
  void take(Session& session) {
    scratch::Workspace output = session.area("output");
    for (const scratch::Numbered& part : parts().list(output)) {
      scratch::check_records(output, part.name, record_size);
      output.move(part.name, session, part.name);
      session.persist(part.name, directory_ / part.name);
      delivered_.push_back(part.name);
    }
  }

  /// Reads everything back, as it stands in the output directory.
  Check check(const Plan& plan) const {
    const unsigned threads = plan.workers;
    const scratch::Workspace here(directory_, {.buffers = plan.buffers});
    std::vector<Check> seen(delivered_.size());
    std::vector<std::exception_ptr> errors(threads);
    {
      std::vector<std::jthread> readers;
      for (unsigned t = 0; t < threads; ++t)
        readers.emplace_back([&, t] {
          try {
            for (std::size_t i = t; i < delivered_.size(); i += threads) check_part(here, delivered_[i], seen[i]);
          } catch (...) {
            errors[t] = std::current_exception();
          }
        });
    }
    for (const std::exception_ptr& error : errors)
      if (error) std::rethrow_exception(error);
    Check all;
    for (const Check& part : seen) all += part;
    return all;
  }

  /// The parts stay.
  void release() {
    delivered_.clear();
    made_ = false;
  }

  std::size_t parts_delivered() const { return delivered_.size(); }

 private:
  static void check_part(const scratch::Workspace& here, const std::string& name, Check& seen) {
    scratch::FileReader file(here, name);
    std::vector<Record> records(std::size_t{1} << 13);
    while (const std::size_t n = file.read(std::as_writable_bytes(std::span(records))))
      seen.add(std::span(records).first(n / record_size));
  }

  std::filesystem::path directory_;
  bool made_ = false;
  std::vector<std::string> delivered_;
};

}  // namespace external_sort
