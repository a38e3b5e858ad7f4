// SPDX-License-Identifier: MIT
//
// The code of cluster.md: the ranks of a job count; those of a node share a session on its disk.
#include <cstdlib>

//! [cluster]
#include <scratch/scratch.hpp>

#include <mpi.h>

#include <array>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

using namespace scratch::literals;
using Key = std::uint64_t;
using Session = scratch::SessionDir<scratch::TmpDir>;

int rank_in(MPI_Comm ranks) {
  int rank = 0;
  MPI_Comm_rank(ranks, &rank);
  return rank;
}

// The session of a node: its first rank makes it, the others join it by its path, which is all that they need.
class NodeSession {
 public:
  explicit NodeSession(MPI_Comm node) {
    std::array<char, 4096> path{};
    if (rank_in(node) == 0) {
      const scratch::TmpDir place{"guide"};  // TMPDIR: a disk of the node, never one that nodes share
      scratch::sweep(place);                 // what killed jobs left here
      owned_.emplace(place, "job");
      owned_->path().native().copy(path.data(), path.size() - 1);
    }
    MPI_Bcast(path.data(), static_cast<int>(path.size()), MPI_CHAR, 0, node);
    if (!owned_) joined_.emplace(path.data());
  }
  scratch::Workspace workspace() const { return owned_ ? scratch::Workspace(*owned_) : scratch::Workspace(*joined_); }

 private:
  std::optional<Session> owned_;
  std::optional<scratch::JoinedSession> joined_;
};

// Every rank counts its share, and the first rank of each node adds up what its ranks committed.
void count_on_node(MPI_Comm node, scratch::Workspace session, int rank) {
  scratch::CountTable<Key> table(session, "rank_" + std::to_string(rank_in(node)), {.memory = 16_MiB});
  for (Key i = 0; i < 100'000; ++i) table.add((i + static_cast<Key>(rank)) % 1000);
  table.commit();
  MPI_Barrier(node);  // all tables of the node are there
  if (rank_in(node) == 0) scratch::merge_all<Key>(session, "node", session.list("rank_*"), {.threads = 2});
}
//! [cluster]

// The nodes' sums go to the first rank in pieces, which adds them to a table of its own.
void send_all(MPI_Comm leaders, scratch::Workspace session) {
  std::vector<Key> piece;
  const auto send = [&] { MPI_Send(piece.data(), static_cast<int>(piece.size()), MPI_UINT64_T, 0, 0, leaders); };
  for (const auto [key, count] : scratch::CountReader<Key>(session, "node")) {
    piece.insert(piece.end(), {key, count});
    if (piece.size() < 131'072) continue;
    send();
    piece.clear();
  }
  if (!piece.empty()) send();
  piece.clear();
  send();  // an empty one is the end
}

std::uint64_t receive_all(MPI_Comm leaders, scratch::Workspace session) {
  int nodes = 0;
  MPI_Comm_size(leaders, &nodes);
  scratch::CountTable<Key> all(session, "node", {.memory = 64_MiB, .existing = scratch::Existing::add});
  std::vector<Key> piece(131'072);
  while (nodes > 1) {
    MPI_Status status;
    int n = 0;
    MPI_Recv(piece.data(), static_cast<int>(piece.size()), MPI_UINT64_T, MPI_ANY_SOURCE, 0, leaders, &status);
    MPI_Get_count(&status, MPI_UINT64_T, &n);
    if (n == 0) --nodes;
    for (int i = 0; i < n; i += 2) all.add(piece[static_cast<std::size_t>(i)], piece[static_cast<std::size_t>(i) + 1]);
  }
  all.commit();
  return all.total();
}

namespace {

// With SCRATCH_FAKE_NODES the first half of a machine's ranks is one node, and the others are another.
void pretend_two_nodes(MPI_Comm& node) {
  if (std::getenv("SCRATCH_FAKE_NODES") == nullptr) return;
  int size = 0;
  MPI_Comm_size(node, &size);
  const MPI_Comm machine = node;
  MPI_Comm_split(machine, rank_in(machine) * 2 / size, rank_in(machine), &node);
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int ranks = 0, wrong = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  //! [main]
  try {
    const int rank = rank_in(MPI_COMM_WORLD);
    MPI_Comm node, leaders;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);
    //! [main]
    pretend_two_nodes(node);
    //! [main]
    MPI_Comm_split(MPI_COMM_WORLD, rank_in(node) == 0 ? 0 : 1, rank, &leaders);  // 0: the first rank of each node
    const NodeSession session(node);
    count_on_node(node, session.workspace(), rank);
    if (rank == 0) {
      const std::uint64_t total = receive_all(leaders, session.workspace());
      std::cout << total << " counted by " << ranks << " ranks\n";
      wrong = total == 100'000 * static_cast<std::uint64_t>(ranks) ? 0 : 1;
    } else if (rank_in(node) == 0) {
      send_all(leaders, session.workspace());
    }
  } catch (const std::exception& error) {  // the others wait for this rank: the job ends, and the next one sweeps
    std::cerr << error.what() << '\n';
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  //! [main]
  MPI_Finalize();
  return wrong;
}
