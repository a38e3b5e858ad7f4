// SPDX-License-Identifier: MIT
// ctest: syscalls=lacking_syscalls alone
//
// A forked child is told from its parent, whatever the kernel, or who plays it, makes of a page that is to be emptied.
#include <scratch/detail/kernel/process_life.hpp>

#include <stdexcept>

#include "support/catch.hpp"
#include "support/crash.hpp"

using scratch::detail::MadeHere;
using scratch::detail::process_life;
using scratch::test::Ending;
using scratch::test::in_child;

TEST_CASE("a child of fork is another process, also where no page is emptied, and where it is only said to be") {
  const int emptying = GENERATE(0, EINVAL, -1);
  CAPTURE(emptying);
  // Each in a process of its own, in which nobody asked before.
  CHECK(in_child([&] {
          scratch::test::lacks.emptying = emptying;
          const MadeHere here;
          const auto mine = process_life();
          if ((scratch::test::refusals != 0) != (emptying != 0)) throw std::runtime_error("not asked");
          for (int i = 0; i < 3; ++i)
            if (in_child([&] {
                  if (here.is_true() || process_life() == mine) throw std::runtime_error("taken for the parent");
                  if (!MadeHere().is_true()) throw std::runtime_error("not at home");
                  const MadeHere child;
                  if (in_child([&] {
                        if (here.is_true() || child.is_true()) throw std::runtime_error("taken for an ancestor");
                      }) != Ending::finished)
                    throw std::runtime_error("a child's child");
                }) != Ending::finished)
              throw std::runtime_error("a child");
          if (!here.is_true() || process_life() != mine) throw std::runtime_error("the parent is another one");
        }) == Ending::finished);
}
