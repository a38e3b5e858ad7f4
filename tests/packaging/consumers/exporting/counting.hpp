// SPDX-License-Identifier: MIT
#pragma once

#include <scratch/workspace.hpp>

void count(const scratch::Workspace& workspace);
