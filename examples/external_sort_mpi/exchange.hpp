// SPDX-License-Identifier: MIT
//
// Files of sessions from rank to rank. What both have in one session is not sent: it is there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "external_sort/layout.hpp"
#include "external_sort/stage.hpp"
#include "mpi/bytes.hpp"
#include "mpi/ranks.hpp"
#include "mpi/stream.hpp"

namespace external_sort {

class FileExchange {
 public:
  FileExchange(ranks::Ranks& ranks, ranks::Stream& stream) : ranks_(ranks), stream_(stream) {
    for (const std::uint64_t node : ranks.all(ranks.node())) nodes_.push_back(static_cast<unsigned>(node));
  }

  bool is_here(unsigned rank) const { return nodes_[rank] == ranks_.node(); }

  /// What each rank found for partitions of others, as `received/partition.N.from_WK`: in steps, in each of which a rank
  /// has one to send to and one to receive from. What was sent goes when the step is over.
  void partitions_to_owners(const Stage& stage) {
    scratch::Workspace sent = stage.session.in(0).area("partitioning").area(worker_name(stage.worker));
    const scratch::Workspace received = stage.session.in(0).area("received");
    for (unsigned step = 1; step < ranks_.size(); ++step) {
      const unsigned to = (ranks_.rank() + step) % ranks_.size();
      const unsigned from = (ranks_.rank() + ranks_.size() - step) % ranks_.size();
      const auto target = is_here(to) ? std::nullopt : std::optional(to);
      const auto source = is_here(from) ? std::nullopt : std::optional(from);
      std::vector<std::string> names;
      ranks_.together([&] {
        if (target)
          for (const scratch::Numbered& file : partitions().list(sent))
            if (stage.plan.owns(to, file.index)) names.push_back(file.name);
        move(sent, names, target, received, source, [&](const std::string& name) {
          const auto file = partitions().parse(name);
          if (!file) throw Refused("a rank sent a file of no partition: " + name);
          const std::string extra = "from_" + worker_name(from);
          return partitions().name(file->index, file->extra.empty() ? extra : extra + "." + file->extra);
        });
      });
      ranks_.together([&] {
        for (const std::string& name : names) sent.remove(name);
      });
    }
  }

  /// Files of every rank to the first one's node, under their names: those for which `is_mine(name)`.
  template <class IsMine>
  void to_first(const scratch::Workspace& area, IsMine is_mine) {
    for (unsigned from = 1; from < ranks_.size(); ++from) {
      ranks_.together([&] {
        const bool same = nodes_[from] == nodes_[0];
        const auto to = ranks_.rank() == from && !same ? std::optional<unsigned>(0) : std::nullopt;
        const auto source = ranks_.is_first() && !same ? std::optional(from) : std::nullopt;
        std::vector<std::string> names;
        if (to)
          for (const std::string& name : area.list())
            if (is_mine(name)) names.push_back(name);
        move(area, names, to, area, source, [](const std::string& name) { return name; });
      });
    }
  }

  /// A file of the first rank's node to all other nodes.
  void to_nodes(const scratch::Workspace& area, const std::string& name) {
    for (unsigned to = 1; to < ranks_.size(); ++to) {
      if (nodes_[to] == nodes_[to - 1]) continue;
      ranks_.together([&] {
        std::vector<std::string> names;
        if (ranks_.is_first()) names.push_back(name);
        move(area, names, ranks_.is_first() ? std::optional(to) : std::nullopt, area,
             ranks_.rank() == to ? std::optional<unsigned>(0) : std::nullopt,
             [](const std::string& same) { return same; });
      });
    }
  }

 private:
  // First the names, then the files. A file that is there is not taken again.
  template <class NewName>
  void move(const scratch::Workspace& area, const std::vector<std::string>& names, std::optional<unsigned> to,
            const scratch::Workspace& new_area, std::optional<unsigned> from, NewName new_name) {
    if (!to && !from) return;
    std::string list;
    for (const std::string& name : names) list += name + '\n';
    ranks::TextBytes out(list);
    ranks::Text in;
    stream_.move(to, &out, from, &in);
    std::vector<std::string> coming;
    std::istringstream lines(in.text);
    for (std::string line; std::getline(lines, line);) coming.push_back(line);
    const std::size_t n_out = to ? names.size() : 0;
    for (std::size_t i = 0; i < std::max(n_out, coming.size()); ++i) {
      std::optional<ranks::FileBytes> file;
      std::optional<ranks::NewFile> copy;
      if (i < n_out) file.emplace(area, names[i]);
      if (i < coming.size()) copy.emplace(new_area, new_name(coming[i]));
      stream_.move(file ? to : std::nullopt, file ? &*file : nullptr, copy ? from : std::nullopt,
                   copy ? &*copy : nullptr);
    }
  }

  ranks::Ranks& ranks_;
  ranks::Stream& stream_;
  std::vector<unsigned> nodes_;  // of each rank
};

}  // namespace external_sort
