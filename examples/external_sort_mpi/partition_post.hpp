// SPDX-License-Identifier: MIT
//
// Partitioning by ranks that send at once what belongs to another node: it stands there as `received/partition.N.from_WK`
// once all has come, and in no file here.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>

#include <scratch/atomic_file.hpp>
#include <scratch/workspace.hpp>

#include "exchange.hpp"
#include "external_sort/layout.hpp"
#include "external_sort/partitioning.hpp"
#include "external_sort/stage.hpp"
#include "mpi/post.hpp"
#include "mpi/ranks.hpp"

namespace external_sort {

class PartitionPost {
 public:
  /// With all others.
  /// @param round    bytes of a letter, at most
  /// @param memory   for all letters
  /// @param received of this node
  PartitionPost(ranks::Ranks& ranks, const FileExchange& exchange, const Plan& plan, std::uint64_t round,
                std::uint64_t memory, scratch::Workspace received)
      : ranks_(ranks),
        exchange_(exchange),
        plan_(plan),
        received_(std::move(received)),
        post_(ranks,
              std::min(static_cast<std::size_t>(round), ranks::Post::letter_in(memory, others(ranks, exchange)))) {}

  /// With all others: `partition_share`. @throws as `ranks::Ranks::together`
  Work partition(const Area& session) {
    Work work;
    std::atomic<bool> given_up = false;
    post_.run(
        [&] {
          Sender sender(*this);
          work = partition_share({session, plan_, ranks_.rank(), &given_up, &sender});
          sender.flush();
        },
        [&](unsigned from, std::uint32_t partition, std::span<const std::byte> bytes) {
          if (!plan_.owns(ranks_.rank(), partition))
            throw support::Damaged("a rank sent something of partition " + std::to_string(partition));
          const std::pair key(from, partition);
          auto file = files_.find(key);
          if (file == files_.end())
            file = files_.try_emplace(key, received_, partitions().name(partition, "from_" + worker_name(from))).first;
          file->second.append(bytes);
        },
        [&] { given_up = true; });
    ranks_.together([&] {
      for (auto& [key, file] : files_) file.commit();
      files_.clear();
    });
    return work;
  }

  std::uint64_t sent() const { return post_.sent(); }

 private:
  class Sender final : public Elsewhere {
   public:
    explicit Sender(PartitionPost& all) : all_(all), outbox_(all.post_) {}

    bool has(std::uint64_t partition) const override { return !all_.exchange_.is_here(owner(partition)); }
    void append(std::uint64_t partition, Items items) override {
      outbox_.put(owner(partition), static_cast<std::uint32_t>(partition), items);
    }
    void flush() { outbox_.flush(); }

   private:
    unsigned owner(std::uint64_t partition) const { return static_cast<unsigned>(partition % all_.plan_.workers); }

    PartitionPost& all_;
    ranks::Post::Outbox outbox_;
  };

  static std::size_t others(const ranks::Ranks& ranks, const FileExchange& exchange) {
    std::size_t n = 0;
    for (unsigned rank = 0; rank < ranks.size(); ++rank) n += exchange.is_here(rank) ? 0 : 1;
    return n;
  }

  ranks::Ranks& ranks_;
  const FileExchange& exchange_;
  const Plan& plan_;
  scratch::Workspace received_;
  ranks::Post post_;
  std::map<std::pair<unsigned, std::uint32_t>, scratch::AtomicFile> files_;  // of a rank, of a partition
};

}  // namespace external_sort
