// SPDX-License-Identifier: MIT
//
// What a rank works with, whatever it is that ranks exchange.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <scratch/workspace.hpp>

#include "kmer_frequency/options.hpp"
#include "kmer_frequency/rows.hpp"
#include "mpi/logs.hpp"
#include "mpi/ranks.hpp"
#include "mpi/stream.hpp"
#include "partition_file.hpp"

namespace kmer_frequency {

/// Areas of a rank in the session of its node.
inline scratch::Workspace area_of(const scratch::Workspace& session, unsigned rank) {
  return scratch::Workspace(session).area("rank_" + std::to_string(rank));
}
inline scratch::Workspace share_of(const scratch::Workspace& session, unsigned rank) {
  return area_of(session, rank).area("share");
}

struct RankWork {
  ranks::Ranks& ranks;
  const Options& options;
  const Share& input;  ///< this rank's
  ranks::Logs& logs;
  ranks::Stream& stream;
  std::uint64_t round;         ///< bytes that are sent at once, at most
  scratch::Workspace session;  ///< of the node
  // Of this rank: all of it; what it has of its share; what of all shares is its own.
  scratch::Workspace area = area_of(session, ranks.rank()), share = share_of(session, ranks.rank()),
                     received = scratch::Workspace(area).area("received");
  std::uint64_t posted = 0;  ///< bytes that were sent beside the stream

  /// Every rank gives each its part, and takes its own of all: in as many steps as there are ranks, each of which has one
  /// to send to and one to receive from. What came before does not come again.
  /// @param outgoing what goes to a rank that has it not, as an optional
  /// @param has      whether what a rank gives is here already
  template <class OutgoingFor, class Has>
  void exchange(OutgoingFor outgoing, Has has) {
    PartitionFile partition(received, ranks.rank());
    for (unsigned step = 0; step < ranks.size(); ++step) {
      const unsigned to = (ranks.rank() + step) % ranks.size();
      const unsigned from = (ranks.rank() + ranks.size() - step) % ranks.size();
      const bool is_there = has(from) || partition.is_there(from);
      const std::vector<std::uint64_t> have = ranks.all(is_there ? 1 : 0);
      partition.from(from);
      ranks.together([&] {
        const bool sends = have[to] == 0;
        auto out = sends ? outgoing(to) : std::nullopt;
        stream.move(sends ? std::optional<unsigned>(to) : std::nullopt, sends ? &*out : nullptr,
                    is_there ? std::nullopt : std::optional<unsigned>(from), is_there ? nullptr : &partition);
      });
      logs.progress(step + 1, ranks.size());
    }
    logs.work = {stream.received(), stream.sent(), 0};
  }
};

}  // namespace kmer_frequency
