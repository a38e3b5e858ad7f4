# SPDX-License-Identifier: MIT
#
# gnuplot -e "data='count_tables.data'" plot.gp: the cost of an add, by budget, from what count_tables --data wrote.
set terminal svg size 720,400 font "sans-serif,12" background "white"
set output "count_tables.svg"
set logscale x 2
set format x "%.0b %BB"
set xlabel "memory"
set ylabel "processor time, ns an add"
set yrange [0:*]
set key bottom right
set grid y
plot data index "budgets, 20 M adds of 4 M keys" using 1:4 with linespoints pt 7 title "20 M adds of 4 M keys", \
  data index "budgets, 100 M adds of 20 M keys" using 1:4 with linespoints pt 7 title "100 M adds of 20 M keys", \
  data index "budgets, 100 M keys, once each" using 1:4 with linespoints pt 7 title "100 M keys, once each"
