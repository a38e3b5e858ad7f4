// SPDX-License-Identifier: MIT
//
// node duckdb.mjs MODULES ADDS DISTINCT THREADS MEMORY DIRECTORY: DuckDB counts as many keys of as many distinct ones with
// GROUP BY, and reads all counts; a row of count_tables' table. MODULES is where `npm install --prefix MODULES
// @duckdb/node-api` put it.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [modules, adds, distinct, threads, memory, directory] = process.argv.slice(2);
const { DuckDBInstance } = createRequire(resolve(modules, 'package.json'))('@duckdb/node-api');

const connection = await (await DuckDBInstance.create(':memory:')).connect();
for (const setting of [`threads = ${threads}`, `memory_limit = '${memory}'`, `temp_directory = '${directory}'`,
                       'preserve_insertion_order = false'])
  await connection.run(`SET ${setting}`);
const start = process.hrtime.bigint(), before = process.cpuUsage();
const result = await connection.runAndReadAll(
    `SELECT count(*), sum(n), bit_xor(hash(k) + n) FROM
     (SELECT hash(i) % ${distinct} AS k, count(*) AS n FROM range(${adds}) AS keys(i) GROUP BY k)`);
const wall = Number(process.hrtime.bigint() - start) / 1e9, used = process.cpuUsage(before);
if (result.getRows()[0][1] != adds) throw new Error('the counts do not add up');
const cpu = (used.user + used.system) / 1e6, peak = Math.round(process.resourceUsage().maxRSS / 1024);
console.log(`| DuckDB, ${threads} threads, ${memory} | ${cpu.toFixed(2)} | ${(cpu / adds * 1e9).toFixed(1)} | | ` +
            `${wall.toFixed(2)} | | | | ${peak} | |`);
process.exit(0);
