# SPDX-License-Identifier: MIT
#
# gnuplot -e "data='kmers.data'; svg='kmers.svg'" plot.gp: seconds of each program by case, from what kmers.py --data
# wrote.
set terminal svg noenhanced size 1100,450 font "sans-serif,12" background "white"
set output svg
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8 border -1
set ylabel "seconds, best of the rounds"
set logscale y
set key outside bottom center horizontal
set grid y
set xtics rotate by -25
set datafile missing "?"
set datafile columnheaders
stats data using 2 nooutput
plot for [i = 2 : STATS_columns] data using i:xtic(1) title columnheader(i)
