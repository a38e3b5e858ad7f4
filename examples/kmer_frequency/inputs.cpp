// SPDX-License-Identifier: MIT
#include "inputs.hpp"

#include <cstddef>
#include <optional>
#include <set>
#include <utility>

#include <scratch/session_json.hpp>

#include "bring.hpp"
#include "input_read.hpp"
#include "workers.hpp"

namespace kmer_frequency {
namespace {

using nlohmann::json;

std::string table_of_input(std::size_t i) { return "input_" + std::to_string(i); }
std::string read_of_input(std::size_t i) { return table_of_input(i) + ".read"; }

/// Only the tables of inputs, and what is said of them, is of use to whoever goes on.
std::set<std::string> tidy(support::Sessions& sessions, std::size_t inputs) {
  std::set<std::string> ours, there;
  for (std::size_t i = 0; i < inputs; ++i) ours.insert({table_of_input(i), read_of_input(i)});
  for (std::size_t i = 0; i < sessions.size(); ++i)
    for (const std::string& name : sessions[i].list())
      if (ours.contains(name))
        there.insert(name);
      else
        sessions[i].remove(name);
  return there;
}

bool is_in(const scratch::Workspace& session, const std::string& file) { return !session.list(file).empty(); }

bool is_merging(support::Sessions& sessions) { return scratch::user_json(sessions[0]).contains("merging"); }

}  // namespace

AllCounted count_each_input(support::Sessions& sessions, const Options& options, const RowSource& inputs,
                            const std::function<void(const ReadSoFar&)>& told, const OnCommit& committing) {
  const std::size_t n = options.files.size();
  const Counting& counting = options.counting;
  scratch::OwnedSession& session = sessions[0];
  std::set<std::string> there;
  if (sessions.goes_on()) there = tidy(sessions, n);
  const bool merging = sessions.goes_on() && is_merging(sessions);
  AllCounted all;
  all.workers.resize(counting.workers);
  for (std::size_t i = 0; i < n; ++i) {
    session.progress(i, n + 2, "counting");
    const std::string table = table_of_input(i), read = read_of_input(i);
    all.tables.push_back(table);
    std::optional<InputRead> before;
    if (there.contains(read) && (merging || there.contains(table))) before = input_read(session, read);
    if (before) {
      all.read += before->read;
      all.workers[0] += before->counted;
      continue;
    }
    if (merging) {
      const std::string why = "what was read of \"" + options.files[i] + "\" is no longer known";
      support::give_up(session, why);
      throw support::Refused(why);
    }
    const scratch::Workspace where = sessions.of(table);
    if (there.contains(table)) scratch::Workspace(where).remove(table);
    RowSource rows({options.files[i]}, counting.k, counting.rows);
    if (rows.inputs().front().id != inputs.inputs()[i].id)
      throw support::Refused("\"" + options.files[i] + "\" was replaced by another file meanwhile");
    rows.on_progress([&](const ReadSoFar& so_far) {
      told({all.read.so_far.rows + so_far.rows, all.read.so_far.bases + so_far.bases,
            all.read.so_far.bytes + so_far.bytes});
    });
    InputRead input;
    const auto counted = [&](const std::vector<Counted>& workers) {
      input.read = rows.found();
      for (const Counted& worker : workers) input.counted += worker;
      put_on_record(session, read, input);
      return std::uint64_t{1};
    };
    const std::vector<Counted> workers =
        count_in_threads(*make_table(where, table, 0, counting), counting, rows, committing, counted);
    for (std::size_t w = 0; w < workers.size(); ++w) all.workers[w] += workers[w];
    all.read += input.read;
  }
  session.progress(n, n + 2, "merging");
  if (merging) return all;
  gather(sessions, all.tables);
  json user = scratch::user_json(session);
  user["merging"] = true;
  scratch::user(session, user);
  return all;
}

void gather(support::Sessions& sessions, const std::vector<std::string>& tables) {
  scratch::Workspace first = sessions[0];
  for (std::size_t i = 1; i < sessions.size(); ++i) {
    scratch::Workspace other = sessions[i];
    for (const std::string& table : tables) {
      if (!is_in(other, table)) continue;
      if (is_in(first, table))
        other.remove(table);  // a run that was killed has brought it
      else
        bring(table, other, first, [] { support::check_stop(); });
    }
  }
}

}  // namespace kmer_frequency
