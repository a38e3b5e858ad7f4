// SPDX-License-Identifier: MIT
//
// The leader makes a session in each of the temporary tablespaces and tells its workers the paths. Each process counts its
// share of the rows into a table of its own in one of them, by turns; the leader brings these to the first and makes one of
// them. The leader counts, too, so that a job without workers is only slower.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <scratch/joined_session.hpp>
#include <scratch/owned_session.hpp>
#include <scratch/policy.hpp>
#include <scratch/session_set.hpp>

#include "../kmer_frequency/bring.hpp"
#include "job.hpp"
#include "places.hpp"
#include "scan.hpp"

extern "C" {
#include <access/parallel.h>
#include <storage/shm_toc.h>
#include <utils/guc.h>
#include <utils/snapmgr.h>
}

namespace kmer_frequency {

using scratch_pg::check_for_interrupts;
using scratch_pg::server;
using scratch_pg::TransactionSession;

namespace {

constexpr int most_workers = 64;
constexpr uint64 job_key = 1, scan_key = 2;

/// What workers are told, and tell.
struct Job {
  Counting counting;
  bool committed[most_workers];  ///< whose tables are there
  int places;
  char sessions[most_places][MAXPGPATH];

  /// Where a worker's table is; the leader's is in the first one.
  int place_of(int worker) const { return (worker + 1) % places; }
};

std::string table_of(int worker) { return "worker_" + std::to_string(worker); }

/// Says in the session's metadata.json, at most once a second, how far the job has come: scratch_sessions() shows it.
class Progress {
 public:
  explicit Progress(scratch::OwnedSession& session) : session_(session) {}

  /// To be called between pieces of work. @throws ServerError
  void tell(const char* doing, std::uint64_t rows) {
    check_for_interrupts();
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::seconds(1);
    try {
      session_.user("{\"doing\":\"" + std::string(doing) + "\",\"rows\":" + std::to_string(rows) + "}");
    } catch (const scratch::Error&) {  // whoever only looks must not end the work
    }
  }

 private:
  scratch::OwnedSession& session_;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
};

void count_share(const scratch::Workspace& workspace, const std::string& table, const Counting& counting,
                 SharedScan& scan, const Between& between) {
  const auto counter = make_counter(workspace, table, counting, between);
  Rows rows(scan);
  for (std::string_view row; rows.next(row);) counter->add(row);
  counter->commit();
}

scratch::SessionOptions session_options() {
  scratch::SessionOptions options;
  if (temp_file_limit >= 0)
    options.quota = std::max<std::uint64_t>(static_cast<std::uint64_t>(temp_file_limit) * 1024, 1);
  options.buffers = 4 << 20;
  return options;
}

int workers_for(const OpenTables& tables) {
  if (!tables.shareable || IsInParallelMode()) return 0;
  if (settings.workers >= 0) return std::min(settings.workers, most_workers);
  constexpr std::uint64_t blocks_of_a_worker = (4 << 20) / BLCKSZ;  // counted in 0.1 s: less is not worth a process
  return static_cast<int>(std::min<std::uint64_t>({static_cast<std::uint64_t>(max_parallel_maintenance_workers),
                                                   most_workers, tables.blocks / blocks_of_a_worker}));
}

/// The processes that share a scan: this one, and workers where there are any.
class Team {
 public:
  /// Has the server's rules: may jump, has no destructor.
  static Team gather(const OpenTables& tables, const Job& job, int workers) {
    Team team;
    const Snapshot snapshot = GetActiveSnapshot();
    const Size size = tables.shared_size(snapshot);
    if (workers > 0) {
      EnterParallelMode();
      team.context_ = CreateParallelContext("kmer_frequency", "kmer_frequency_worker", workers);
      shm_toc_estimate_chunk(&team.context_->estimator, sizeof(Job));
      shm_toc_estimate_chunk(&team.context_->estimator, size);
      shm_toc_estimate_keys(&team.context_->estimator, 2);
      InitializeParallelDSM(team.context_);
      team.job_ = static_cast<Job*>(shm_toc_allocate(team.context_->toc, sizeof(Job)));
      team.scan_ = static_cast<SharedScan*>(shm_toc_allocate(team.context_->toc, size));
      shm_toc_insert(team.context_->toc, job_key, team.job_);
      shm_toc_insert(team.context_->toc, scan_key, team.scan_);
    } else {
      team.job_ = static_cast<Job*>(palloc(sizeof(Job)));
      team.scan_ = static_cast<SharedScan*>(palloc(size));
    }
    *team.job_ = job;
    tables.share(*team.scan_, snapshot);
    if (workers > 0) LaunchParallelWorkers(team.context_);
    return team;
  }

  void wait() const {
    if (context_ != nullptr) WaitForParallelWorkersToFinish(context_);
  }
  void dismiss() const {
    if (context_ == nullptr) return;
    DestroyParallelContext(context_);
    ExitParallelMode();
  }

  const Job& job() const { return *job_; }
  SharedScan& scan() const { return *scan_; }

 private:
  ParallelContext* context_ = nullptr;
  Job* job_ = nullptr;
  SharedScan* scan_ = nullptr;
};

/// Counts all rows. Returns how many there are; afterwards `names` are the tables, in the first place.
std::uint64_t count_in_team(const std::vector<scratch::Workspace>& places, const Request& request, Progress& progress,
                            std::vector<std::string>& names) {
  Job job{};
  job.counting = request.counting;
  job.places = static_cast<int>(places.size());
  for (std::size_t i = 0; i < places.size(); ++i)
    places[i].path().native().copy(job.sessions[i], sizeof job.sessions[i] - 1);
  const OpenTables tables = server([&] { return OpenTables::open(request.relation, NameStr(request.column)); });
  const Team team = server([&] { return Team::gather(tables, job, workers_for(tables)); });
  names.push_back("leader");
  count_share(places.front(), names.front(), request.counting, team.scan(),
              [&] { progress.tell("counting", pg_atomic_read_u64(&team.scan().rows)); });
  server([&] { team.wait(); });
  const std::uint64_t rows = pg_atomic_read_u64(&team.scan().rows);
  for (int i = 0; i < most_workers; ++i) {
    if (!team.job().committed[i]) continue;
    names.push_back(table_of(i));
    if (const int place = job.place_of(i); place != 0)
      bring(names.back(), places[static_cast<std::size_t>(place)], places.front(),
            [&] { progress.tell("bringing tables", rows); });
  }
  server([&] {
    team.dismiss();
    tables.close();
  });
  return rows;
}

//! [session]
template <class Policy>
Counts analyse_in_session(const Request& request) {
  using Set = scratch::SessionSet<scratch::PgsqlTmp, Policy>;
  auto set = TransactionSession<Set>::in(CurrentMemoryContext, next_places(), "k" + std::to_string(request.counting.k),
                                         session_options());
  Counts counts{};
  {
    std::vector<scratch::Workspace> places;
    for (std::size_t i = 0; i < set->size(); ++i) places.push_back((*set)[i]);
    Progress progress((*set)[0]);
    std::vector<std::string> names;
    counts.rows = count_in_team(places, request, progress, names);
    counts.least_rows = request.least_rows(counts.rows);
    const std::string all = merge_tables(places.front(), std::move(names), request.counting, counts.least_rows,
                                         [&] { progress.tell("merging", counts.rows); });
    counts.appearances = read_table(places.front(), all, request.counting, counts.least_rows);
  }
  set.close();  // what is open can be read to its end
  return counts;
}

void work(shm_toc* toc) {
  auto* const job = static_cast<Job*>(server([&] { return shm_toc_lookup(toc, job_key, false); }));
  auto* const scan = static_cast<SharedScan*>(server([&] { return shm_toc_lookup(toc, scan_key, false); }));
  const char* const path = job->sessions[job->place_of(ParallelWorkerNumber)];
  auto session =
      TransactionSession<scratch::JoinedSession>::in(CurrentMemoryContext, std::string(path), session_options());
  count_share(*session, table_of(ParallelWorkerNumber), job->counting, *scan, &check_for_interrupts);
  session.close();
  job->committed[ParallelWorkerNumber] = true;
}
//! [session]

}  // namespace

bool Request::operator==(const Request& other) const {
  const auto all = [](const Request& one) {
    return std::tuple(one.relation, std::string_view(NameStr(one.column)), one.counting, one.has_least, one.has_rate,
                      one.has_most, one.least, one.rate, one.most);
  };
  return all(*this) == all(other);
}

std::uint64_t Request::least_rows(std::uint64_t rows) const {
  if (has_least) return static_cast<std::uint64_t>(least);
  std::uint64_t bound = std::numeric_limits<std::uint64_t>::max();
  if (has_rate) {
    const double scaled = std::floor(rate * static_cast<double>(rows));
    if (scaled < 0x1p63) bound = static_cast<std::uint64_t>(scaled);
  }
  if (has_most) bound = std::min(bound, static_cast<std::uint64_t>(most));
  if (!has_rate && !has_most) return 1;
  return bound == std::numeric_limits<std::uint64_t>::max() ? bound : bound + 1;
}

Counts analyse(const Request& request) {
  sweep_once();
  return settings.keep ? analyse_in_session<scratch::KeepOnFailure>(request)
                       : analyse_in_session<scratch::RemoveAlways>(request);
}

}  // namespace kmer_frequency

extern "C" PGDLLEXPORT void kmer_frequency_worker(dsm_segment*, shm_toc* toc) {
  scratch_pg::guarded([&] { kmer_frequency::work(toc); });
}
